//! Wake-ups of one process.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::registry::Registry;
use crate::topic::{Seed, Topic};
use crate::watch::{Signal, Watch};

/// Slots that remember when topics last fired; a power of two. 512 KiB. Two topics in one slot cost a needless
/// wake-up of a watch taken with [`Bus::watch_since`], or a needless look past a cache ([`Bus::has_fired`]).
const RECENT: usize = 65_536;

/// Caps of the bus.
#[derive(Clone, Debug)]
pub struct BusConfig {
    /// Topics of one watch.
    pub topics_per_watch: usize,
    /// Subscriptions (topics of all watches) of the process. The default, 4 million, is about 200 MB.
    pub subscriptions: usize,
    /// Key of the topics' hashes: the same in every node of a cluster, known to nobody else. `None`: a random
    /// one, for a process by itself.
    pub seed: Option<[u8; 16]>,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self { topics_per_watch: 16_384, subscriptions: 4_000_000, seed: None }
    }
}

/// Why a watch was not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchError {
    /// Over [`BusConfig::topics_per_watch`].
    #[error("a watch may have {cap} topics, not {asked}")]
    TooManyTopics {
        /// Topics asked for.
        asked: usize,
        /// Topics allowed.
        cap: usize,
    },
    /// Over [`BusConfig::subscriptions`]. Passes when others leave.
    #[error("the process holds as many subscriptions as it may ({cap})")]
    Full {
        /// Subscriptions allowed.
        cap: usize,
    },
}

/// A moment, for [`Bus::watch_since`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// What listeners are told ([`Bus::listen`]).
#[derive(Clone, Copy, Debug)]
pub enum Fired<'a> {
    /// These topics, each of some tenant.
    Topics(&'a [Topic]),
    /// Wake-ups of this tenant may have been lost: whatever they would have told is out of date.
    All {
        /// The tenant.
        tenant: &'a str,
    },
}

/// Passes topics on to the other nodes.
pub(crate) type Outward = Arc<dyn Fn(Vec<Topic>) + Send + Sync>;

type Callback = Arc<dyn Fn(Fired<'_>) + Send + Sync>;

/// The wake-ups of this process; a cheap handle, cloned freely.
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

struct Shared {
    seed: Seed,
    config: BusConfig,
    registry: Arc<Registry>,
    next_watch: AtomicU64,
    /// Counts notifications.
    clock: AtomicU64,
    /// When the topics of each slot last fired, on `clock`.
    recent: Vec<AtomicU64>,
    /// When all topics of some tenant last fired, on `clock`.
    all: AtomicU64,
    next_listener: AtomicU64,
    listeners: RwLock<Vec<(u64, Callback)>>,
    /// Of each tenant that is shared with other nodes; the number tells one sharing from the next.
    outward: RwLock<HashMap<Box<str>, (u64, Outward)>>,
}

impl Bus {
    /// An empty bus.
    pub fn new(config: BusConfig) -> Self {
        let shared = Shared {
            seed: config.seed.map_or_else(Seed::random, Seed::of),
            registry: Arc::new(Registry::new(config.subscriptions)),
            config,
            next_watch: AtomicU64::new(0),
            clock: AtomicU64::new(0),
            recent: (0..RECENT).map(|_| AtomicU64::new(0)).collect(),
            all: AtomicU64::new(0),
            next_listener: AtomicU64::new(0),
            listeners: RwLock::new(Vec::new()),
            outward: RwLock::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A tenant's topic as this process knows it.
    pub fn topic(&self, tenant: &str, name: &str) -> Topic {
        Topic::of(self.shared.seed, tenant, name)
    }

    /// Watches topics from now on. Take it before looking at the database: nothing after it is missed.
    ///
    /// # Errors
    /// Over a cap of [`BusConfig`].
    pub fn watch<T: AsRef<str>>(&self, tenant: &str, topics: &[T]) -> Result<Watch, WatchError> {
        let cap = self.shared.config.topics_per_watch;
        if topics.len() > cap {
            return Err(WatchError::TooManyTopics { asked: topics.len(), cap });
        }
        self.enter(tenant, topics.iter().map(|name| self.topic(tenant, name.as_ref())).collect())
    }

    fn enter(&self, tenant: &str, mut hashes: Vec<Topic>) -> Result<Watch, WatchError> {
        hashes.sort_unstable();
        hashes.dedup();

        let shared = &self.shared;
        let whole = Topic::whole(shared.seed, tenant);
        let first = hashes.first().copied().unwrap_or(whole);
        let signal = Signal::new(shared.next_watch.fetch_add(1, Ordering::Relaxed), whole, first);
        if !shared.registry.enter(&hashes, &signal) {
            return Err(WatchError::Full { cap: shared.config.subscriptions });
        }
        Ok(Watch::new(signal, hashes.into_boxed_slice(), Arc::clone(&shared.registry)))
    }

    /// This moment. Take it before a look at the database whose answer names the topics to watch.
    pub fn mark(&self) -> Mark {
        Mark(self.shared.clock.load(Ordering::SeqCst))
    }

    /// Watches topics that may have fired since `mark`: such a watch is fired when it comes back.
    /// Rarely it is fired although none was.
    ///
    /// # Errors
    /// Over a cap of [`BusConfig`].
    pub fn watch_since<T: AsRef<str>>(
        &self,
        mark: Mark,
        tenant: &str,
        topics: &[T],
    ) -> Result<Watch, WatchError> {
        Ok(self.since(mark, self.watch(tenant, topics)?))
    }

    /// As [`Bus::watch_since`], with topics of [`Watch::topics_hashes`] from a node with the same
    /// [`BusConfig::seed`].
    ///
    /// # Errors
    /// Over a cap of [`BusConfig`].
    pub fn watch_hashes_since(
        &self,
        mark: Mark,
        tenant: &str,
        hashes: &[u64],
    ) -> Result<Watch, WatchError> {
        let cap = self.shared.config.topics_per_watch;
        if hashes.len() > cap {
            return Err(WatchError::TooManyTopics { asked: hashes.len(), cap });
        }
        let hashes = hashes.iter().map(|bits| Topic::from_bits(*bits)).collect();
        Ok(self.since(mark, self.enter(tenant, hashes)?))
    }

    fn since(&self, mark: Mark, watch: Watch) -> Watch {
        if self.has_fired(mark, watch.hashes()) {
            watch.fire();
        }
        watch
    }

    /// Whether one of these topics has fired since `mark`, or may have; for what is kept while they do not.
    pub fn has_fired(&self, mark: Mark, topics: &[Topic]) -> bool {
        let slots = topics.iter().filter_map(|topic| self.slot(*topic));
        slots.chain([&self.shared.all]).any(|slot| slot.load(Ordering::SeqCst) > mark.0)
    }

    /// Fires these topics: when it returns, every watch of them in this process is fired and every listener has run.
    /// Where the tenant is shared with other nodes they are told, too.
    pub fn notify<T: AsRef<str>>(&self, tenant: &str, topics: &[T]) {
        if topics.is_empty() {
            return;
        }
        let hashes: Vec<Topic> =
            topics.iter().map(|name| self.topic(tenant, name.as_ref())).collect();
        self.fire(&hashes);
        let outward = self.shared.outward.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, outward)) = outward.get(tenant) {
            outward(hashes);
        }
    }

    /// Has what is notified for a tenant passed on.
    pub(crate) fn share(&self, tenant: &str, number: u64, outward: Outward) {
        let mut all = self.shared.outward.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(tenant.into(), (number, outward));
    }

    /// Ends what [`Bus::share`] has begun, unless it was begun anew.
    pub(crate) fn unshare(&self, tenant: &str, number: u64) {
        let mut all = self.shared.outward.write().unwrap_or_else(PoisonError::into_inner);
        if all.get(tenant).is_some_and(|(now, _)| *now == number) {
            all.remove(tenant);
        }
    }

    /// As [`Bus::listen`], without being told of wake-ups that may have been lost: for a process by itself.
    #[must_use = "the callback ends when this is dropped"]
    pub fn subscribe_all(&self, callback: impl Fn(&[Topic]) + Send + Sync + 'static) -> Listening {
        self.listen(move |fired| {
            if let Fired::Topics(topics) = fired {
                callback(topics);
            }
        })
    }

    /// Calls `callback` with what each notification fires, before [`Bus::notify`] returns, until the answer is
    /// dropped. It runs on the committing path: it must be quick and must not notify.
    #[must_use = "the callback ends when this is dropped"]
    pub fn listen(&self, callback: impl Fn(Fired<'_>) + Send + Sync + 'static) -> Listening {
        let id = self.shared.next_listener.fetch_add(1, Ordering::Relaxed);
        let mut listeners = self.shared.listeners.write().unwrap_or_else(PoisonError::into_inner);
        listeners.push((id, Arc::new(callback)));
        Listening { id, shared: Arc::clone(&self.shared) }
    }

    /// Subscriptions held now, over all watches; for metrics.
    pub fn subscriptions(&self) -> usize {
        self.shared.registry.held()
    }

    /// Wake-ups of a tenant may have been lost: tells the listeners. A watch that is taken by [`Bus::watch_since`]
    /// with an earlier mark is fired; those that are held ([`Bus::watches`]) are left to the caller.
    pub(crate) fn void(&self, tenant: &str) {
        let now = self.shared.clock.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        self.shared.all.fetch_max(now, Ordering::SeqCst);
        let listeners = self.shared.listeners.read().unwrap_or_else(PoisonError::into_inner);
        for (_, callback) in listeners.iter() {
            callback(Fired::All { tenant });
        }
    }

    /// The watches of these tenants.
    pub(crate) fn watches(&self, tenants: &[Arc<str>]) -> Vec<Arc<Signal>> {
        let whole: HashSet<Topic> =
            tenants.iter().map(|tenant| Topic::whole(self.shared.seed, tenant)).collect();
        self.shared.registry.of_tenants(&whole)
    }

    /// Whether both are handles of one bus.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    pub(crate) fn fire(&self, topics: &[Topic]) {
        let now = self.shared.clock.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        let mut signals = Vec::new();
        for topic in topics {
            // The slot first: a watch entered after this sees the slot, one entered before is in the registry.
            if let Some(slot) = self.slot(*topic) {
                slot.fetch_max(now, Ordering::SeqCst);
            }
            self.shared.registry.under(*topic, &mut signals);
        }
        for signal in signals {
            signal.fire();
        }
        let listeners = self.shared.listeners.read().unwrap_or_else(PoisonError::into_inner);
        for (_, callback) in listeners.iter() {
            callback(Fired::Topics(topics));
        }
    }

    fn slot(&self, topic: Topic) -> Option<&AtomicU64> {
        self.shared.recent.get(topic.bits() as usize % RECENT)
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::new(BusConfig::default())
    }
}

/// A callback of [`Bus::subscribe_all`]; dropping it ends it.
pub struct Listening {
    id: u64,
    shared: Arc<Shared>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listeners = self.shared.listeners.write().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|(id, _)| *id != self.id);
    }
}
