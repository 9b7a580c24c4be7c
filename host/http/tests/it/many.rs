//! Several tenants in one process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tessera_blobs::{BlobConfig, BlobStore};
use tessera_engine::api::BoxFuture;
use tessera_http::{Certificates, NoSite, OneSite, Site, Sites};
use tessera_manifest::{Http, Quotas};
use tokio::sync::Semaphore;

use crate::fake::{Fake, principal};
use crate::house::{House, site};

/// Tenants whose names are their hosts.
pub(crate) struct Many {
    pub(crate) sites: Mutex<HashMap<String, Result<Arc<Site>, NoSite>>>,
    /// `find` waits for a permit.
    pub(crate) gate: Semaphore,
    /// How often it was called.
    pub(crate) found: AtomicUsize,
}

impl Many {
    fn look(&self, host: Option<&str>) -> Result<Arc<Site>, NoSite> {
        let host = host.ok_or(NoSite::Unknown)?;
        self.sites.lock().unwrap().get(host).cloned().unwrap_or(Err(NoSite::Unknown))
    }

    pub(crate) fn set(&self, name: &str, to: Result<Site, NoSite>) {
        self.sites.lock().unwrap().insert(name.to_owned(), to.map(Arc::new));
    }

    pub(crate) fn get(&self, name: &str) -> Arc<Site> {
        self.look(Some(name)).unwrap()
    }
}

impl Sites for Many {
    fn tenant(&self, host: Option<&str>) -> Option<Arc<str>> {
        let sites = self.sites.lock().unwrap();
        sites.get_key_value(host?).map(|(name, _)| name.as_str().into())
    }

    fn find<'a>(&'a self, host: Option<&'a str>) -> BoxFuture<'a, Result<Arc<Site>, NoSite>> {
        Box::pin(async move {
            self.found.fetch_add(1, Ordering::SeqCst);
            drop(self.gate.acquire().await.unwrap());
            self.look(host)
        })
    }

    fn current<'a>(&'a self, site: &'a Arc<Site>) -> BoxFuture<'a, Result<Arc<Site>, NoSite>> {
        Box::pin(async move { self.look(Some(&site.tenant)) })
    }
}

/// The tenants `a.org` and `b.org`, with the same tokens for users of their own.
pub(crate) struct Town {
    pub(crate) house: House,
    pub(crate) many: Arc<Many>,
    pub(crate) a: Arc<Fake>,
    pub(crate) b: Arc<Fake>,
    _dir: tempfile::TempDir,
}

impl Town {
    pub(crate) async fn open() -> Self {
        Self::with(|_| {}, None).await
    }

    pub(crate) async fn with(
        change: impl FnOnce(&mut Http),
        tls: Option<Arc<dyn Certificates>>,
    ) -> Self {
        let many = Arc::new(Many {
            sites: Mutex::default(),
            gate: Semaphore::new(1),
            found: AtomicUsize::new(0),
        });
        let serves = Arc::clone(&many);
        let sites = move |_: &Arc<OneSite>| -> Arc<dyn Sites> { serves };
        let house = House::make(change, |_| {}, sites, tls).await;
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path(), BlobConfig::default()).unwrap();
        let [a, b] = ["a.org", "b.org"].map(|name| {
            let mut fake = Fake::new(house.bus.clone());
            fake.tenant = name.to_owned();
            let users = [("token", "alice"), ("other", "bob")]
                .map(|(token, user)| (token.to_owned(), principal(&format!("{user}@{name}"))));
            fake.sessions = Mutex::new(users.into());
            let fake = Arc::new(fake);
            let mut site = site(fake.clone(), &store.tenant(name).unwrap());
            site.tenant = name.into();
            many.set(name, Ok(site));
            fake
        });
        Self { house, many, a, b, _dir: dir }
    }

    /// Gives a tenant quotas.
    pub(crate) fn limit(&self, name: &str, quotas: Quotas) {
        let old = self.many.get(name);
        let (dispatch, blobs) = (Arc::clone(&old.dispatch), old.blobs.clone());
        let (tenant, routes) = (old.tenant.clone(), Arc::clone(&old.routes));
        self.many.set(name, Ok(Site { tenant, dispatch, blobs, routes, quotas }));
    }
}
