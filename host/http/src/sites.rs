//! What the edge serves: the tenants of a process, found by host.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tessera_blobs::Blobs;
use tessera_engine::api::{BoxFuture, Dispatch};
use tessera_manifest::Quotas;

use crate::routes::RouteTable;

/// What a tenant serves. The edge keeps it for as long as a request of the tenant runs or is parked, so a count of
/// one (`Arc::strong_count`) in the owner's hands says that nobody asks anything of the tenant.
pub struct Site {
    /// The tenant.
    pub tenant: Arc<str>,
    /// Its plug-ins.
    pub dispatch: Arc<dyn Dispatch>,
    /// Its blobs.
    pub blobs: Blobs,
    /// The plug-ins' routes; tenants with the same plug-ins share a table.
    pub routes: Arc<RouteTable>,
    /// What it may use; of these the edge keeps the requests each second.
    pub quotas: Quotas,
}

/// Why there is nothing to serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSite {
    /// No tenant answers to this host: `[http.answers.unknown-host]`.
    #[error("no tenant answers to this host")]
    Unknown,
    /// Its operator has suspended it: `[http.answers.suspended]`.
    #[error("the tenant is suspended")]
    Suspended,
    /// It cannot be served now, such as when it does not wake in time: `[http.answers.unavailable]`.
    #[error("the tenant is unavailable: {0}")]
    Unavailable(String),
}

/// The tenants of a process.
///
/// Hosts come in lower case, without port and without a dot at the end; IPv6 addresses without brackets. `None`: the
/// request named no host, which only HTTP/1.0 may.
pub trait Sites: Send + Sync + 'static {
    /// Which tenant a host belongs to. Called for each request; does not wake it.
    fn tenant(&self, host: Option<&str>) -> Option<Arc<str>>;

    /// What the host's tenant serves; wakes it if it sleeps, within a time of its own. Many requests may call it for
    /// one tenant at once, and any may be dropped: they wait for one waking, which goes on without them.
    fn find<'a>(&'a self, host: Option<&'a str>) -> BoxFuture<'a, Result<Arc<Site>, NoSite>>;

    /// What the tenant of `site` serves now, for a request that was parked or is answered in pieces: the same,
    /// or what has taken its place since. The caller holds `site`, so the tenant is awake unless its operator has stopped it.
    fn current<'a>(&'a self, site: &'a Arc<Site>) -> BoxFuture<'a, Result<Arc<Site>, NoSite>>;

    /// Whether there can only be one tenant, which may then use all that the process has. Asked
    /// often, so that who comes later gets a share: it must be cheap.
    fn lone(&self) -> bool {
        false
    }
}

/// A lone tenant that answers to every host.
pub struct OneSite(ArcSwap<Site>);

impl OneSite {
    /// Serves `site`.
    pub fn new(site: Site) -> Arc<Self> {
        tell(&site);
        Arc::new(Self(ArcSwap::from_pointee(site)))
    }

    /// Serves another site from now on. Requests in hand end on the old one; parked ones resume on the new one,
    /// and further pieces of answers come from it.
    /// [`crate::Edge::forget_authentications`] belongs to it where the plug-ins have changed.
    pub fn replace(&self, site: Site) {
        tell(&site);
        self.0.store(Arc::new(site));
    }
}

/// Says once what the operator should know of a site.
fn tell(site: &Site) {
    let said: BTreeSet<_> = site.routes.warnings().iter().collect();
    for warning in said {
        tracing::warn!(tenant = %site.tenant, "{warning}");
    }
}

impl Sites for OneSite {
    fn tenant(&self, _: Option<&str>) -> Option<Arc<str>> {
        Some(Arc::clone(&self.0.load().tenant))
    }

    fn find<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Result<Arc<Site>, NoSite>> {
        Box::pin(ready(Ok(self.0.load_full())))
    }

    fn current<'a>(&'a self, _: &'a Arc<Site>) -> BoxFuture<'a, Result<Arc<Site>, NoSite>> {
        Box::pin(ready(Ok(self.0.load_full())))
    }

    fn lone(&self) -> bool {
        true
    }
}
