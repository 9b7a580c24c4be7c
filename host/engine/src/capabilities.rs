//! What plug-ins may ask of the host, one file for each interface of `wit/host`.
//!
//! All are linked into every plug-in; grants are checked at the call.

mod answer;
mod blobs;
mod bus;
mod cache;
mod config;
mod crypto;
mod fetch;
mod limits;
mod line;
pub(crate) mod log;
mod mail;
mod metrics;
mod peers;
mod storage;
pub(crate) mod timers;
pub(crate) mod wasi;

pub use self::{
    crypto::{Crypto, CryptoError, PasswordCost, Passwords},
    fetch::{Fetch, FetchBody, FetchError, FetchGrants, FetchRequest, FetchResponse},
    limits::{Buckets, LimitClass},
    mail::{Mail, MailError, MailMessage},
};
pub(crate) use self::{
    limits::OwnRates, line::Full as LineFull, log::refused, metrics::Own as OwnMetrics,
};

use std::{collections::HashSet, sync::Arc};

use tessera_blobs::Blobs;
use tessera_bus::Bus;
use tessera_storage::{Database, Session};

use crate::{
    golden::Recorder,
    journal::{Journal, Journals},
    limits::PluginLimits,
    metrics::Labels,
    quota::Account,
};

/// What all plug-ins of a tenant share.
pub(crate) struct Shared {
    pub(crate) tenant: Arc<str>,
    pub(crate) database: Database,
    pub(crate) bus: Bus,
    pub(crate) blobs: Blobs,
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) mail: Option<Arc<dyn Mail>>,
    pub(crate) crypto: Arc<Crypto>,
    pub(crate) buckets: Buckets,
    pub(crate) account: Arc<Account>,
    /// What went wrong with its plug-ins.
    pub(crate) journals: Journals,
    pub(crate) recorder: Recorder,
    /// Keeps the label values of its metrics; they go with it.
    pub(crate) labels: Labels,
    /// What its plug-ins register themselves.
    pub(crate) own_metrics: metrics::Own,
}

/// What one plug-in of one tenant holds, shared by its instances.
pub(crate) struct Capabilities {
    pub(crate) shared: Arc<Shared>,
    pub(crate) plugin: Arc<str>,
    pub(crate) version: String,
    pub(crate) limits: PluginLimits,
    pub(crate) session: Session,
    /// Topics that the manifest declares under `emits`.
    pub(crate) emits: HashSet<String>,
    /// JSON.
    pub(crate) config: String,
    pub(crate) fetch: FetchGrants,
    /// May use the tenant's key.
    pub(crate) sign: bool,
    /// May hash and check passwords.
    pub(crate) passwords: bool,
    /// May send mail.
    pub(crate) mail: bool,
    pub(crate) cache: cache::PluginCache,
    pub(crate) log: log::Rate,
    pub(crate) journal: Arc<Journal>,
    /// Shared by the versions of it that run side by side.
    pub(crate) metrics: Arc<metrics::PluginMetrics>,
}

/// What [`Capabilities::new`] is made from.
pub(crate) struct Granted {
    pub(crate) plugin: Arc<str>,
    pub(crate) version: String,
    pub(crate) limits: PluginLimits,
    pub(crate) session: Session,
    pub(crate) emits: HashSet<String>,
    pub(crate) config: String,
    pub(crate) fetch: FetchGrants,
    pub(crate) sign: bool,
    pub(crate) passwords: bool,
    pub(crate) mail: bool,
}

impl Capabilities {
    pub(crate) fn new(
        shared: Arc<Shared>,
        granted: Granted,
        registry: &prometheus::Registry,
    ) -> Self {
        let cache = cache::PluginCache::new(granted.limits.cache, &shared, &granted.plugin);
        let journal = shared.journals.of(&granted.plugin);
        let log = log::Rate::new(granted.limits.log_rate);
        let metrics = shared.own_metrics.of(registry, &shared.tenant, &granted.plugin);
        let Granted {
            plugin,
            version,
            limits,
            session,
            emits,
            config,
            fetch,
            sign,
            passwords,
            mail,
        } = granted;
        Self {
            shared,
            plugin,
            version,
            limits,
            session,
            emits,
            config,
            fetch,
            sign,
            passwords,
            mail,
            cache,
            log,
            journal,
            metrics,
        }
    }

    /// Counts that a limit was hit, or that a fence held.
    pub(crate) fn hit(&self, limit: &str) {
        self.shared.labels.limit(&self.plugin, limit);
    }
}
