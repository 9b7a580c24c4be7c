//! One tenant that is awake.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering, fence},
    },
    time::Duration,
};

use anyhow::Result;
use tessera_blobs::Blobs;
use tessera_bus::Attached;
use tessera_engine::{Plugin, Tenant};
use tessera_http::{RouteTable, Site};
use tessera_manifest::{Bus, Quotas};
use tessera_storage::{Database, now_ms};
use tokio::{task::JoinHandle, time::timeout};

use super::deliveries::{Deliveries, Places};

/// What a tenant holds while it is awake. Whoever holds an `Arc` of it, or of its site, keeps it awake.
pub(crate) struct Running {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) database: Database,
    pub(crate) blobs: Blobs,
    pub(crate) deliveries: Deliveries,
    sites: Mutex<Sites>,
    /// Shares wake-ups and messages with other nodes; given up by [`Running::close`].
    attached: tokio::sync::Mutex<Option<Attached>>,
    /// Fires timers; aborted by [`Running::close`].
    pub(crate) timers: JoinHandle<()>,
    /// Milliseconds since the epoch.
    used_ms: AtomicU64,
}

/// What a tenant serves.
struct Sites {
    now: Arc<Site>,
    /// What it served before, for as long as requests hold it.
    before: Vec<Arc<Site>>,
}

impl Running {
    /// A tenant that was just used.
    pub(crate) fn new(
        tenant: Arc<Tenant>,
        database: Database,
        blobs: Blobs,
        deliveries: Deliveries,
        attached: Option<Attached>,
        site: Site,
    ) -> Self {
        let timers = tokio::spawn(timers(Arc::clone(&tenant)));
        let used_ms = AtomicU64::new(now_ms());
        let (sites, attached) = (
            Mutex::new(Sites { now: Arc::new(site), before: Vec::new() }),
            tokio::sync::Mutex::new(attached),
        );
        Self { tenant, database, blobs, deliveries, sites, attached, timers, used_ms }
    }

    fn sites(&self) -> MutexGuard<'_, Sites> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is served now.
    pub(crate) fn site(&self) -> Arc<Site> {
        Arc::clone(&self.sites().now)
    }

    /// Serves other routes from now on. Requests in hand go on.
    pub(crate) fn serve(&self, routes: Arc<RouteTable>, quotas: Quotas) {
        let site = Site {
            tenant: self.tenant.name().into(),
            dispatch: Arc::clone(&self.tenant) as _,
            blobs: self.blobs.clone(),
            routes,
            quotas,
        };
        let mut sites = self.sites();
        let before = std::mem::replace(&mut sites.now, Arc::new(site));
        sites.before.push(before);
        sites.before.retain(|site| Arc::strong_count(site) > 1);
    }

    /// Brings the deliveries of topics in line with what the plug-ins consume now.
    pub(crate) async fn deliver(
        &self,
        settings: &Bus,
        bus: &tessera_bus::Bus,
        plugins: &[Plugin],
        runs: impl Fn(&Plugin) -> bool,
    ) -> Result<()> {
        let attached = self.attached.lock().await;
        let places = Places { bus, attached: attached.as_ref(), database: &self.database };
        self.deliveries.change(settings, places, &self.tenant, plugins, runs).await
    }

    /// Whether no request holds what is or was served.
    pub(crate) fn is_unasked(&self) -> bool {
        let mut sites = self.sites();
        sites.before.retain(|site| Arc::strong_count(site) > 1);
        sites.before.is_empty() && Arc::strong_count(&sites.now) == 1
    }

    /// Notes that somebody uses it.
    pub(crate) fn touch(&self) {
        self.used_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// When it was used last.
    pub(crate) fn used_ms(&self) -> u64 {
        self.used_ms.load(Ordering::Relaxed)
    }

    /// Whether nobody but the caller has it in hand. True for good only where nobody can get it any more.
    pub(crate) fn is_alone(self: &Arc<Self>) -> bool {
        // First this count, then the site's: a request takes the site while it holds the tenant.
        if Arc::strong_count(self) > 1 {
            return false;
        }
        fence(Ordering::Acquire);
        self.is_unasked()
    }

    /// Whether messages wait, or a timer is due within `soon`.
    pub(crate) async fn has_work(&self, soon: Duration) -> Result<bool> {
        let soon = u64::try_from(soon.as_millis()).unwrap_or(u64::MAX);
        let timer = self.database.timer_next().await?;
        if timer.is_some_and(|due| due <= now_ms().saturating_add(soon)) {
            return Ok(true);
        }
        self.deliveries.has_work(&self.database).await
    }

    /// Lets what it does for itself end, within `patience`, and gives everything back. Gives when something is due
    /// here next, in milliseconds since the epoch.
    pub(crate) async fn close(&self, patience: Duration) -> Result<Option<u64>> {
        self.timers.abort();
        // Read while they still run: afterwards it is not known whose messages count.
        let messages = self.deliveries.has_work(&self.database).await;
        if timeout(patience, self.deliveries.stop()).await.is_err() {
            tracing::warn!(
                tenant = self.tenant.name(),
                "a consumer did not end in time; its messages are delivered again"
            );
        }
        self.tenant.close();
        let timer = self.database.timer_next().await;
        drop(self.attached.lock().await.take());
        self.database.clone().close().await;
        Ok(if messages? { Some(now_ms()) } else { timer? })
    }
}

/// Fires timers. They must not end: without them the tenant is half of one.
async fn timers(tenant: Arc<Tenant>) {
    loop {
        let ended = tokio::spawn(Arc::clone(&tenant).run_timers());
        let _abort = AbortOnDrop(ended.abort_handle());
        let ended = ended.await;
        tracing::error!(tenant = tenant.name(), ?ended, "the timers ended; starting them again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
