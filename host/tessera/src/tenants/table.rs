//! The tenants of this process: who they are, and those that are awake.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use arc_swap::{ArcSwap, ArcSwapOption};
use serde::{Deserialize, Serialize};
use tessera_engine::api::BoxFuture;
use tessera_http::{Edge, NoSite, PemFiles, Site, Sites};
use tessera_manifest::{Descriptor, TenantEntry};
use tokio::{
    sync::{Notify, Semaphore},
    time::{sleep, timeout},
};

use super::{
    Host, Registry, Running,
    change::shown,
    hosts::{Hosts, claims},
};
use crate::service;

/// How long a request waits for its tenant to wake. The waking itself goes on as long as it takes: tables may be
/// brought up to date meanwhile.
const WAKING: Duration = Duration::from_secs(20);

/// How often it is told that a tenant without which the server does not start still wakes.
const STILL: Duration = Duration::from_secs(10);

/// A tenant that did not wake is not tried again for so long: its requests must not use up the machine.
const FAILED: Duration = Duration::from_secs(2);

/// Where a tenant comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Origin {
    /// `[tenant]`.
    Lone,
    /// `[tenants]`.
    File,
    /// `tessera tenant add`, or `import`.
    Made,
}

/// A tenant, asleep or awake.
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    pub(crate) settings: TenantEntry,
    pub(crate) origin: Origin,
    suspended: AtomicBool,
    /// Held while it wakes or goes to sleep.
    pub(super) gate: Arc<tokio::sync::Mutex<()>>,
    pub(super) running: ArcSwapOption<Running>,
    /// Its own, for listeners that speak TLS.
    certificate: Option<Arc<PemFiles>>,
    /// Of which generation its plug-ins were when it was woken last in this process; 0: not yet.
    started: AtomicU64,
    /// When and why it did not wake.
    failed: Mutex<Option<(Instant, Arc<str>)>>,
}

impl Entry {
    fn new(name: &str, settings: TenantEntry, origin: Origin, suspended: bool) -> Result<Self> {
        let certificate = settings.tls.as_ref().map(|tls| {
            PemFiles::open(&tls.certificate, &tls.key)
                .with_context(|| format!("cannot use the certificate of `{name}`"))
        });
        Ok(Self {
            name: name.into(),
            settings,
            origin,
            suspended: AtomicBool::new(suspended),
            gate: Arc::default(),
            running: ArcSwapOption::empty(),
            certificate: certificate.transpose()?,
            started: AtomicU64::new(0),
            failed: Mutex::default(),
        })
    }

    /// Whether its operator has suspended it.
    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Acquire)
    }

    pub(super) fn set_suspended(&self, suspended: bool) {
        self.suspended.store(suspended, Ordering::Release);
    }

    /// It, if it is awake.
    pub(crate) fn awake(&self) -> Option<Arc<Running>> {
        self.running.load_full()
    }

    /// Its plug-ins are of this generation.
    pub(crate) fn has(&self, generation: u64) {
        self.started.store(generation, Ordering::Release);
    }

    /// What is to be said without waking it: that it is awake, or why it is not to be woken now.
    fn known(&self) -> Option<Result<Arc<Running>, Asleep>> {
        if self.is_suspended() {
            return Some(Err(Asleep::Suspended));
        }
        if let Some(running) = self.awake() {
            running.touch();
            return Some(Ok(running));
        }
        self.failed_lately().map(|why| Err(Asleep::Failed(why)))
    }

    fn failed_lately(&self) -> Option<Arc<str>> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = failed.as_ref().filter(|(at, _)| at.elapsed() < FAILED);
        lately.map(|(_, why)| Arc::clone(why))
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All entries, by name and by host. Made anew when one comes or goes.
#[derive(Default)]
struct Index {
    entries: BTreeMap<Arc<str>, Arc<Entry>>,
    hosts: Hosts<Entry>,
}

impl Index {
    fn new(entries: BTreeMap<Arc<str>, Arc<Entry>>) -> Self {
        let listed = entries
            .values()
            .map(|entry| (&*entry.name, entry.settings.hosts.as_slice(), Arc::clone(entry)));
        let hosts = Hosts::new(listed);
        Self { entries, hosts }
    }
}

/// Why a tenant cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Asleep {
    #[error("the tenant is suspended")]
    Suspended,
    #[error("{0}")]
    Failed(Arc<str>),
}

/// The tenants of this process.
pub(crate) struct Tenants {
    pub(crate) host: Host,
    pub(crate) registry: Registry,
    me: Weak<Self>,
    index: ArcSwap<Index>,
    /// Held while the list is read anew.
    loading: tokio::sync::Mutex<()>,
    edge: OnceLock<Weak<Edge>>,
    pub(super) awake: AtomicUsize,
    /// Told when more tenants are awake than should be.
    pub(super) crowded: Notify,
    /// Of those that wake at the same moment: twice as many as there are processors.
    room: Semaphore,
    /// Nothing wakes any more: the server stops.
    stopping: AtomicBool,
}

impl Tenants {
    /// Reads the list of tenants; none is woken.
    pub(crate) async fn open(
        descriptor: &Descriptor,
        host: Host,
        registry: Registry,
    ) -> Result<Arc<Self>> {
        let mut entries = BTreeMap::new();
        let suspended = registry.suspended().await?;
        let mut enter = |name: &str, settings: TenantEntry, origin| {
            let entry = Entry::new(name, settings, origin, suspended.contains(name))?;
            entries.insert(Arc::clone(&entry.name), Arc::new(entry));
            anyhow::Ok(())
        };
        if descriptor.is_of_many() {
            for (name, settings) in &descriptor.tenants {
                enter(name.as_str(), settings.clone(), Origin::File)?;
            }
        } else {
            let tenant = &descriptor.tenant;
            let settings = TenantEntry { hosts: tenant.hosts.clone(), ..TenantEntry::default() };
            enter(tenant.name.as_str(), settings, Origin::Lone)?;
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let tenants = Arc::new_cyclic(|me| Self {
            host,
            registry,
            me: me.clone(),
            index: ArcSwap::from_pointee(Index::new(entries)),
            loading: tokio::sync::Mutex::default(),
            edge: OnceLock::new(),
            awake: AtomicUsize::new(0),
            crowded: Notify::new(),
            room: Semaphore::new(processors.saturating_mul(2)),
            stopping: AtomicBool::new(false),
        });
        tenants.reload().await?;
        Ok(tenants)
    }

    /// The edge, which serves these tenants.
    pub(crate) fn serve_by(&self, edge: &Arc<Edge>) {
        // Set once: there is one edge.
        drop(self.edge.set(Arc::downgrade(edge)));
    }

    pub(crate) fn edge(&self) -> Option<Arc<Edge>> {
        self.edge.get()?.upgrade()
    }

    /// Reads anew which tenants were made and which are suspended, and does what follows.
    pub(crate) async fn reload(&self) -> Result<()> {
        let _loading = self.loading.lock().await;
        let made = self.registry.made().await?;
        let suspended = self.registry.suspended().await?;
        let before = self.index.load_full();
        let keeps = |entry: &&Arc<Entry>| entry.origin != Origin::Made;
        let mut entries: BTreeMap<Arc<str>, Arc<Entry>> = before
            .entries
            .values()
            .filter(keeps)
            .map(|entry| (Arc::clone(&entry.name), Arc::clone(entry)))
            .collect();
        for made in made {
            let name = made.name.as_str();
            if entries.contains_key(name) {
                tracing::warn!(
                    tenant = name,
                    "the tenant was made by `tessera tenant add` and stands in the descriptor, too; the descriptor counts"
                );
                continue;
            }
            let known = before.entries.get(name).filter(|entry| entry.settings == made.entry);
            let entry = match (known, before.entries.get(name)) {
                (Some(known), _) => Arc::clone(known),
                (None, old) => {
                    let suspended = suspended.contains(name);
                    // The others are served all the same.
                    let mut entry = match Entry::new(name, made.entry, Origin::Made, suspended) {
                        Ok(entry) => entry,
                        Err(error) => {
                            tracing::error!(tenant = name, "it is not served: {error:#}");
                            continue;
                        }
                    };
                    if let Some(old) = old {
                        // Not opened before the one that it replaces is closed.
                        entry.gate = Arc::clone(&old.gate);
                    }
                    Arc::new(entry)
                }
            };
            entries.insert(Arc::clone(&entry.name), entry);
        }
        let changed = entries.len() != before.entries.len()
            || entries.iter().zip(&before.entries).any(|((_, a), (_, b))| !Arc::ptr_eq(a, b));
        let mut stop: Vec<Arc<Entry>> = Vec::new();
        if changed {
            let gone = |entry: &&Arc<Entry>| {
                entries.get(&entry.name).is_none_or(|there| !Arc::ptr_eq(there, entry))
            };
            stop.extend(before.entries.values().filter(gone).cloned());
            for entry in &stop {
                entry.set_suspended(true);
            }
            warn_of_collisions(&entries, &before.entries);
            self.index.store(Arc::new(Index::new(entries)));
        }
        let mut resumed = Vec::new();
        for entry in self.entries() {
            let suspend = suspended.contains(&*entry.name);
            if suspend != entry.is_suspended() {
                entry.set_suspended(suspend);
                if suspend {
                    stop.push(entry);
                } else {
                    resumed.push(entry);
                }
            }
        }
        for entry in stop {
            self.stop(&entry).await;
        }
        if !resumed.is_empty()
            && let Err(error) = self.wake_resumed(resumed).await
        {
            tracing::error!("cannot see which tenants have work left: {error:#}");
        }
        Ok(())
    }

    /// Wakes those that this node had awake when they were suspended: they may have work to do.
    async fn wake_resumed(&self, resumed: Vec<Arc<Entry>>) -> Result<()> {
        let left: BTreeSet<String> = self.registry.left_awake().await?.into_iter().collect();
        for entry in resumed.into_iter().filter(|entry| left.contains(&*entry.name)) {
            let Some(me) = self.me.upgrade() else { break };
            tokio::spawn(async move { me.wake_for_work(&entry).await });
        }
        Ok(())
    }

    /// All entries, by name.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.index.load().entries.values().cloned().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.index.load().entries.len()
    }

    /// One by its name.
    pub(crate) fn entry(&self, name: &str) -> Option<Arc<Entry>> {
        self.index.load().entries.get(name).cloned()
    }

    /// The certificate of the tenant that answers to a host, where it has one of its own.
    pub(crate) fn certificate(&self, host: &str) -> Option<Arc<PemFiles>> {
        self.index.load().hosts.find(Some(host))?.certificate.clone()
    }

    /// Those that are awake, by name.
    pub(crate) fn awake(&self) -> Vec<Arc<Running>> {
        self.index.load().entries.values().filter_map(|entry| entry.awake()).collect()
    }

    /// A tenant that is awake, or is woken now, for someone who does not wait longer than 20 s. It wakes all the same.
    pub(crate) async fn wake(&self, entry: &Arc<Entry>) -> Result<Arc<Running>, Asleep> {
        let late = |_| Err(failed("it takes long to wake or to stop; try again in a while"));
        timeout(WAKING, self.wake_at_leisure(entry)).await.unwrap_or_else(late)
    }

    /// Like [`Tenants::wake_at_leisure`], and tells meanwhile that it is at work.
    pub(crate) async fn wake_at_start(&self, entry: &Arc<Entry>) -> Result<Arc<Running>, Asleep> {
        let start = Instant::now();
        let mut waking = pin!(self.wake_at_leisure(entry));
        loop {
            tokio::select! {
                woken = &mut waking => return woken,
                () = sleep(STILL) => {
                    let seconds = start.elapsed().as_secs();
                    tracing::info!(tenant = %entry.name, seconds, "still starting; its tables may be brought up to date");
                    service::notify("EXTEND_TIMEOUT_USEC=60000000");
                }
            }
        }
    }

    /// A tenant that is awake, or is woken now, however long that takes. Many may ask for one at once: it is woken once,
    /// also where those who asked are gone before it is.
    pub(super) async fn wake_at_leisure(&self, entry: &Arc<Entry>) -> Result<Arc<Running>, Asleep> {
        if let Some(known) = entry.known() {
            return known;
        }
        let gate = Arc::clone(&entry.gate).lock_owned().await;
        if let Some(known) = entry.known() {
            return known;
        }
        if self.is_stopping() {
            return Err(failed("the server is stopping"));
        }
        let Some(me) = self.me.upgrade() else { return Err(failed("the server is stopping")) };
        let waking = Arc::clone(entry);
        let waking = tokio::spawn(async move {
            let _gate = gate;
            let Ok(_room) = me.room.acquire().await else {
                return Err(failed("the server is stopping"));
            };
            if waking.is_suspended() {
                return Err(Asleep::Suspended);
            }
            if me.is_stopping() {
                return Err(failed("the server is stopping"));
            }
            me.open_up(&waking).await
        });
        match waking.await {
            Ok(result) => result,
            Err(error) => Err(failed(&format!("waking it failed: {error}"))),
        }
    }

    /// The caller holds the gate.
    async fn open_up(&self, entry: &Arc<Entry>) -> Result<Arc<Running>, Asleep> {
        let start = Instant::now();
        // Held until it is awake, so that it has what it would be given otherwise.
        let _unchanged = self.host.changing.read().await;
        let generation = self.host.plugins().generation();
        let first = entry.started.load(Ordering::Acquire) != generation;
        let opening = async {
            // Before anything has an effect: so that after a crash it is known that there may be work.
            self.registry.awake(&entry.name).await?;
            self.host.wake(&entry.name, &entry.settings, first).await
        };
        match opening.await {
            Ok(running) => {
                let running = Arc::new(running);
                entry.started.store(generation, Ordering::Release);
                entry.running.store(Some(Arc::clone(&running)));
                self.awake.fetch_add(1, Ordering::AcqRel);
                self.crowded.notify_one();
                let took = start.elapsed();
                tracing::debug!(tenant = %entry.name, first, ?took, "awake");
                Ok(running)
            }
            Err(error) => {
                tracing::error!(tenant = %entry.name, "it does not wake: {error:#}");
                let why: Arc<str> = format!("{error:#}").into();
                let mut failed = entry.failed.lock().unwrap_or_else(PoisonError::into_inner);
                *failed = Some((Instant::now(), Arc::clone(&why)));
                Err(Asleep::Failed(why))
            }
        }
    }

    /// Lets the edge forget a tenant that went to sleep or is gone.
    pub(super) fn forget(&self, name: &str) {
        if let Some(edge) = self.edge() {
            edge.forget(name);
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Ends what a suspended or removed tenant does, within `[http] drain`. Where it just wakes and takes long, that is
    /// done later.
    async fn stop(&self, entry: &Arc<Entry>) {
        let mut gate = Box::pin(Arc::clone(&entry.gate).lock_owned());
        if let Ok(_gate) = timeout(WAKING, &mut gate).await {
            return self.stop_now(entry).await;
        }
        tracing::warn!(tenant = %entry.name, "it is stopped once it has woken, which takes long");
        let Some(me) = self.me.upgrade() else { return };
        let entry = Arc::clone(entry);
        tokio::spawn(async move {
            let _gate = gate.await;
            // It may go on again by now.
            if entry.is_suspended() {
                me.stop_now(&entry).await;
            }
        });
    }

    /// The caller holds the gate.
    async fn stop_now(&self, entry: &Arc<Entry>) {
        let Some(running) = entry.running.swap(None) else { return };
        self.awake.fetch_sub(1, Ordering::AcqRel);
        let patience = self.host.plugins().descriptor().http.drain.get();
        let until = Instant::now() + patience;
        // What is parked goes on at once and is told.
        self.forget(&entry.name);
        while !running.is_alone() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if let Err(error) = self.close(entry, &running, patience).await {
            tracing::error!(tenant = %entry.name, "it was not closed well: {error:#}");
        }
        self.forget(&entry.name);
    }

    /// Closes one that was taken out of its entry, and notes when it must wake.
    pub(super) async fn close(
        &self,
        entry: &Entry,
        running: &Running,
        patience: Duration,
    ) -> Result<()> {
        let due = running.close(patience).await?;
        self.registry.asleep(&entry.name, due).await
    }

    /// Puts all to sleep, for good. New ones do not wake.
    pub(crate) async fn stop_all(&self, patience: Duration) {
        self.stopping.store(true, Ordering::Release);
        let stops = self.entries().into_iter().filter_map(|entry| {
            let me = self.me.upgrade()?;
            entry.awake()?;
            Some(tokio::spawn(async move {
                let _gate = entry.gate.lock().await;
                let Some(running) = entry.running.swap(None) else { return };
                me.awake.fetch_sub(1, Ordering::AcqRel);
                if let Err(error) = me.close(&entry, &running, patience).await {
                    tracing::error!(tenant = %entry.name, "it was not closed well: {error:#}");
                }
            }))
        });
        for stop in stops.collect::<Vec<_>>() {
            if let Err(error) = stop.await {
                tracing::error!(%error, "a tenant was not closed");
            }
        }
        self.registry.clone().close().await;
    }

    /// Reads the list anew whenever it changes, until dropped.
    pub(crate) async fn follow(self: Arc<Self>) {
        loop {
            let watch = self.host.bus.watch(super::registry::HOST, &[super::registry::CHANGED]);
            let Ok(watch) = watch else {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            if let Err(error) = self.reload().await.context("cannot read the list of tenants") {
                tracing::error!("{error:#}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            watch.fired().await;
        }
    }
}

/// Tells which hosts are asked for twice where one of the two is new: the first by name has them.
fn warn_of_collisions(
    entries: &BTreeMap<Arc<str>, Arc<Entry>>,
    before: &BTreeMap<Arc<str>, Arc<Entry>>,
) {
    if entries.len() < 2 {
        return;
    }
    let is_new =
        |entry: &Arc<Entry>| before.get(&entry.name).is_none_or(|old| !Arc::ptr_eq(old, entry));
    let mut owners: HashMap<String, &Arc<Entry>> = HashMap::new();
    for entry in entries.values() {
        for claim in claims(&entry.name, &entry.settings.hosts) {
            let host = shown(&claim);
            let owner = *owners.entry(host.clone()).or_insert(entry);
            if !Arc::ptr_eq(owner, entry) && (is_new(owner) || is_new(entry)) {
                tracing::warn!(
                    tenant = %entry.name,
                    host,
                    owner = %owner.name,
                    "another tenant answers to this host"
                );
            }
        }
    }
}

fn failed(why: &str) -> Asleep {
    Asleep::Failed(why.into())
}

impl From<Asleep> for NoSite {
    fn from(asleep: Asleep) -> Self {
        match asleep {
            Asleep::Suspended => Self::Suspended,
            Asleep::Failed(why) => Self::Unavailable(why.to_string()),
        }
    }
}

impl Sites for Tenants {
    fn tenant(&self, host: Option<&str>) -> Option<Arc<str>> {
        self.index.load().hosts.find(host).map(|entry| Arc::clone(&entry.name))
    }

    fn find<'a>(&'a self, host: Option<&'a str>) -> BoxFuture<'a, Result<Arc<Site>, NoSite>> {
        let found = self.index.load().hosts.find(host).cloned();
        Box::pin(async move {
            let entry = found.ok_or(NoSite::Unknown)?;
            Ok(self.wake(&entry).await?.site())
        })
    }

    fn current<'a>(&'a self, site: &'a Arc<Site>) -> BoxFuture<'a, Result<Arc<Site>, NoSite>> {
        let found = self.entry(&site.tenant);
        Box::pin(async move {
            let entry = found.ok_or(NoSite::Unknown)?;
            Ok(self.wake(&entry).await?.site())
        })
    }

    fn lone(&self) -> bool {
        self.len() == 1
    }
}
