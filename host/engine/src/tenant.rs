//! The plug-ins of one tenant, linked and running.

mod build;
mod dispatch;
mod plugins;
mod prepared;
mod set;
mod status;
mod trial;

pub use self::{
    prepared::{Prepared, StartError},
    set::{HookSettings, PluginSpec},
    status::{PluginStatus, TrialStatus, VersionFigures},
    trial::{Compared, TrialMode, TrialSpec},
};

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use tessera_blobs::Blobs;
use tessera_bus::Bus;
use tessera_storage::Database;
use tokio::sync::Semaphore;

use self::plugins::Ways;
pub(crate) use self::{
    plugins::{PluginSet, Runs, Unit},
    trial::{Seen, Trial},
};
use crate::{
    capabilities::{Buckets, Crypto, Fetch, LimitClass, Mail, OwnMetrics, Shared, timers},
    engine::Engine,
    golden::Recorder,
    journal::{Entry, Faults, Journals},
    link::LinkError,
    pool::Reading,
    quota::{Account, TenantQuotas, Usage},
    remote::Remote,
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
    /// The relay for mail; none: no mail is sent.
    pub mail: Option<Arc<dyn Mail>>,
    /// Its key.
    pub crypto: Arc<Crypto>,
    /// Classes of `limits.take`.
    pub limits: BTreeMap<String, LimitClass>,
    /// Calls from the edge that run at once, over all plug-ins.
    pub calls: u32,
    /// Order and refusals of hooks.
    pub hooks: HookSettings,
    /// What it may use.
    pub quotas: TenantQuotas,
    /// Where calls of plug-ins go that do not run on this node; none: there are no other nodes.
    pub remote: Option<Arc<dyn Remote>>,
}

/// The plug-ins of one tenant. The calls are those of [`crate::api::Dispatch`].
pub struct Tenant {
    engine: Engine,
    shared: Arc<Shared>,
    edge: Arc<Semaphore>,
    hooks: ArcSwap<HookSettings>,
    remote: Option<Arc<dyn Remote>>,
    set: ArcSwap<PluginSet>,
    /// Held while another set takes its place.
    changing: Mutex<()>,
    /// Closed: false becomes true, once.
    closed: tokio::sync::watch::Sender<bool>,
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
        let name: Arc<str> = parts.name.into();
        let shared = Arc::new(Shared {
            labels: engine.metrics.tenant(&name),
            own_metrics: OwnMetrics::default(),
            tenant: name,
            database: parts.database,
            bus: parts.bus,
            blobs: parts.blobs,
            fetch: parts.fetch,
            mail: parts.mail,
            crypto: parts.crypto,
            buckets: Buckets::new(parts.limits),
            account: Arc::new(Account::new(parts.quotas)),
            journals: Journals::default(),
            recorder: Recorder::default(),
        });
        let tenant = Arc::new(Self {
            engine: engine.clone(),
            shared,
            edge: Arc::new(Semaphore::new(parts.calls.max(1) as usize)),
            hooks: ArcSwap::from_pointee(parts.hooks),
            remote: parts.remote,
            set: ArcSwap::from_pointee(PluginSet::default()),
            changing: Mutex::default(),
            closed: tokio::sync::watch::Sender::new(false),
        });
        let closed = tenant.closed.subscribe();
        tokio::spawn(trim(Arc::downgrade(&tenant), engine.config.idle, closed));
        tenant
    }

    /// What its plug-ins share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What went wrong with a plug-in on this node, oldest first: the newest of it, since the tenant woke.
    #[must_use]
    pub fn journal(&self, plugin: &str) -> Vec<Entry> {
        self.shared.journals.of(plugin).entries()
    }

    /// How often calls of a plug-in failed on this node since the tenant woke, and how the last one did.
    #[must_use]
    pub fn faults(&self, plugin: &str) -> Faults {
        self.shared.journals.of(plugin).faults()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.tenant
    }

    /// Links plug-ins to one another and puts them in place of those before: new calls go to them, calls
    /// that run end where they began. Nothing changes if there is an error. A plug-in of which nothing has changed
    /// keeps its instances.
    ///
    /// The caller has installed their schemas, and then calls [`crate::api::Dispatch::start`] for each; or it uses
    /// [`Tenant::prepare`], which starts them before anybody else calls them.
    ///
    /// # Errors
    ///
    /// See [`LinkError`].
    pub fn install(&self, specs: Vec<PluginSpec>) -> Result<(), LinkError> {
        let prepared = self.prepare(specs, None)?;
        self.switch(prepared);
        Ok(())
    }

    /// Links plug-ins to one another, with other settings of hooks where some are given. Nothing changes until
    /// [`Tenant::switch`].
    ///
    /// # Errors
    ///
    /// See [`LinkError`].
    pub fn prepare(
        &self,
        specs: Vec<PluginSpec>,
        hooks: Option<HookSettings>,
    ) -> Result<Prepared, LinkError> {
        let hooks = hooks.map_or_else(|| self.hooks.load_full(), Arc::new);
        let ways = Ways { edge: &self.edge, hooks: &hooks, remote: self.remote.as_ref() };
        let before = self.set.load_full();
        let set = PluginSet::link(&self.engine, &self.shared, &ways, specs, &before)?;
        Ok(Prepared::new(Arc::new(set), hooks, &before))
    }

    /// Lets new calls go to what was prepared; calls that run end where they began, and then the instances that are
    /// not needed any more are dropped.
    pub fn switch(&self, prepared: Prepared) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (set, hooks) = prepared.into_parts();
        self.hooks.store(hooks);
        self.set.store(set);
        if *self.closed.borrow() {
            self.set.store(Arc::default());
        }
    }

    /// What the version that counts has done on this node since it was put in, and what one that is tried beside it
    /// has.
    #[must_use]
    pub fn readings(&self, plugin: &str) -> Option<(Reading, Option<Reading>)> {
        let set = self.set.load();
        let slot = set.slots.get(plugin)?;
        let read = |unit: usize| Some(set.units.get(unit)?.pool()?.score.read());
        Some((read(slot.main)?, slot.trial.as_ref().and_then(|(unit, _)| read(*unit))))
    }

    /// Fires timers of plug-ins that run here as they come due; runs until the tenant is closed. Start it once the
    /// plug-ins are started.
    pub async fn run_timers(self: Arc<Self>) {
        let shared = Arc::clone(&self.shared);
        let database = shared.database.clone();
        let mut closed = self.closed.subscribe();
        tokio::select! {
            () = timers::run(&shared.tenant, &shared.bus, database, self) => {}
            _ = closed.wait_for(|closed| *closed) => {}
        }
    }

    /// Gives everything back: instances that are idle at once, those that run when their calls end, and then the
    /// tenant's figures. Later calls are unavailable. Nothing else ends it, but dropping does the same.
    pub fn close(&self) {
        self.closed.send_replace(true);
        self.set.store(Arc::default());
    }

    /// What it uses on this node.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.shared.account.usage()
    }

    /// Other quotas from now on.
    pub fn set_quotas(&self, quotas: TenantQuotas) {
        self.shared.account.set(quotas);
    }

    /// The plug-ins that calls go to now.
    pub(crate) fn plugins(&self) -> Arc<PluginSet> {
        self.set.load_full()
    }

    /// How each plug-in fares, by name.
    #[must_use]
    pub fn status(&self) -> Vec<PluginStatus> {
        self.set.load().status()
    }

    /// Ends a plug-in's pause or quarantine. Gives whether there is such a plug-in.
    #[must_use]
    pub fn release(&self, plugin: &str) -> bool {
        self.set.load().main(plugin).and_then(Unit::pool).is_some_and(|pool| {
            pool.release();
            true
        })
    }
}

async fn trim(
    tenant: Weak<Tenant>,
    idle: Duration,
    mut closed: tokio::sync::watch::Receiver<bool>,
) {
    let mut ticks = tokio::time::interval(TRIM);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // Or dropped.
            _ = closed.wait_for(|closed| *closed) => return,
        }
        let Some(tenant) = tenant.upgrade() else { return };
        tenant.set.load().trim(idle);
    }
}
