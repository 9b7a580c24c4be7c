//! The plug-ins of one tenant, linked and running.

mod dispatch;
mod set;

pub use self::set::{HookSettings, PluginSpec};

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use serde::Serialize;
use tessera_blobs::Blobs;
use tessera_bus::{Bus, Listening};
use tessera_storage::Database;
use tokio::sync::Semaphore;

use self::set::PluginSet;
use crate::{
    capabilities::{Buckets, Crypto, Fetch, Fired, LimitClass, Scheduler, Shared},
    engine::Engine,
    link::LinkError,
    pool::Health,
};

/// What a tenant is made of.
pub struct TenantParts {
    /// As in the descriptor; the part of every key.
    pub name: String,
    /// Its database.
    pub database: Database,
    /// The bus, which `database` wakes.
    pub bus: Bus,
    /// Its blobs.
    pub blobs: Blobs,
    /// The client for outbound HTTP.
    pub fetch: Arc<dyn Fetch>,
    /// Its key.
    pub crypto: Arc<Crypto>,
    /// Classes of `limits.take`.
    pub limits: BTreeMap<String, LimitClass>,
    /// Calls from the edge that run at once, over all plug-ins.
    pub calls: u32,
    /// Order and refusals of hooks.
    pub hooks: HookSettings,
}

/// The plug-ins of one tenant. The calls are those of [`crate::api::Dispatch`].
pub struct Tenant {
    engine: Engine,
    shared: Arc<Shared>,
    edge: Arc<Semaphore>,
    hooks: HookSettings,
    set: ArcSwap<PluginSet>,
    /// Voids cached values when topics fire.
    _listening: Listening,
}

/// How one plug-in fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PluginStatus {
    /// From the manifest.
    pub name: String,
    /// From the manifest.
    pub version: String,
    /// Running, paused or quarantined.
    pub health: Health,
    /// Instances alive.
    pub instances: u64,
    /// Those of them that run nothing.
    pub idle: u64,
    /// Bytes of its file.
    pub size: u64,
}

impl std::fmt::Debug for Tenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenant").field("name", &self.shared.tenant).finish_non_exhaustive()
    }
}

/// How often idle instances are looked at.
const TRIM: Duration = Duration::from_secs(10);

impl Tenant {
    /// A tenant without plug-ins. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(engine: &Engine, parts: TenantParts) -> Arc<Self> {
        let fired = Arc::new(Fired::new());
        let firing = Arc::clone(&fired);
        let listening = parts.bus.subscribe_all(move |topics| firing.fire(topics));
        let shared = Arc::new(Shared {
            tenant: parts.name.into(),
            database: parts.database,
            bus: parts.bus,
            blobs: parts.blobs,
            fetch: parts.fetch,
            crypto: parts.crypto,
            buckets: Buckets::new(parts.limits),
            fired,
            scheduler: Scheduler::default(),
        });
        let tenant = Arc::new(Self {
            engine: engine.clone(),
            shared,
            edge: Arc::new(Semaphore::new(parts.calls.max(1) as usize)),
            hooks: parts.hooks,
            set: ArcSwap::from_pointee(PluginSet::default()),
            _listening: listening,
        });
        tokio::spawn(trim(Arc::downgrade(&tenant), engine.config.idle));
        tenant
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.tenant
    }

    /// Links plug-ins to one another and puts them in place of those before: new calls go to them, calls
    /// that run end where they began. Nothing changes if there is an error.
    ///
    /// The caller has installed their schemas, and then calls [`crate::api::Dispatch::start`] for each.
    ///
    /// # Errors
    ///
    /// See [`LinkError`].
    pub fn install(&self, specs: Vec<PluginSpec>) -> Result<(), LinkError> {
        let set = PluginSet::link(&self.engine, &self.shared, &self.edge, &self.hooks, specs)?;
        self.set.store(Arc::new(set));
        Ok(())
    }

    /// Fires timers as they come due; runs until dropped. Start it once the plug-ins are started.
    pub async fn run_timers(self: Arc<Self>) {
        let scheduler = self.shared.scheduler.clone();
        let database = self.shared.database.clone();
        scheduler.run(database, self).await;
    }

    /// How each plug-in fares, by name.
    #[must_use]
    pub fn status(&self) -> Vec<PluginStatus> {
        self.set.load().status()
    }

    /// Ends a plug-in's pause or quarantine. Gives whether there is such a plug-in.
    #[must_use]
    pub fn release(&self, plugin: &str) -> bool {
        self.set.load().pool(plugin).is_some_and(|pool| {
            pool.release();
            true
        })
    }
}

async fn trim(tenant: Weak<Tenant>, idle: Duration) {
    let mut ticks = tokio::time::interval(TRIM);
    loop {
        ticks.tick().await;
        let Some(tenant) = tenant.upgrade() else { return };
        tenant.set.load().trim(idle);
    }
}
