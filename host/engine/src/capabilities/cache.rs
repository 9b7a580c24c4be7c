//! `tessera:host/cache`: bounded memory that the instances of one plug-in and tenant share.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use moka::{Expiry, sync::Cache};
use tessera_bus::Topic;

use crate::{bindings::tessera::host::cache as wit, state::State};

/// When topics last fired.
///
/// A fixed table: topics that share a place only make a cached value void too early. A value counts as
/// read at the start of the call that put it, so one that was read before a topic fired and put after it
/// is void too.
pub(crate) struct Fired {
    /// The number of the last firing at each place.
    places: Box<[AtomicU64]>,
    count: AtomicU64,
    hasher: RandomState,
}

/// 128 KiB for each tenant that runs.
const PLACES: usize = 16_384;

impl Fired {
    pub(crate) fn new() -> Self {
        Self {
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            count: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }

    /// Now, in firings.
    pub(crate) fn now(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub(crate) fn fire(&self, topics: &[Topic]) {
        let number = self.count.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        for topic in topics {
            if let Some(place) = self.places.get(self.place(*topic) as usize) {
                place.fetch_max(number, Ordering::AcqRel);
            }
        }
    }

    fn place(&self, topic: Topic) -> u32 {
        // PLACES is a power of two far below 2^32.
        (self.hasher.hash_one(topic) % PLACES as u64) as u32
    }

    fn fired_since(&self, place: u32, since: u64) -> bool {
        self.places.get(place as usize).is_none_or(|last| last.load(Ordering::Acquire) > since)
    }
}

#[derive(Clone)]
struct Entry {
    value: Arc<[u8]>,
    ttl: Duration,
    since: u64,
    places: Arc<[u32]>,
}

struct Ttl;

impl Expiry<String, Entry> for Ttl {
    fn expire_after_create(&self, _: &String, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(
        &self,
        _: &String,
        entry: &Entry,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.ttl)
    }
}

/// The cache of one plug-in and tenant.
pub(crate) struct PluginCache {
    entries: Cache<String, Entry>,
    cap: u64,
}

/// What an entry costs beside key and value.
const OVERHEAD: usize = 128;
/// Topics of one entry.
const TOPICS_MAX: usize = 64;

impl PluginCache {
    pub(crate) fn new(cap: u64) -> Self {
        let entries = Cache::builder()
            .max_capacity(cap)
            .weigher(|key: &String, entry: &Entry| {
                let bytes = key.len() + entry.value.len() + entry.places.len() * 4 + OVERHEAD;
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .expire_after(Ttl)
            .build();
        Self { entries, cap }
    }
}

impl wit::Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.enter()?;
        let fired = &self.caps.shared.fired;
        let Some(entry) = self.caps.cache.entries.get(&key) else { return Ok(None) };
        if entry.places.iter().any(|place| fired.fired_since(*place, entry.since)) {
            self.caps.cache.entries.invalidate(&key);
            return Ok(None);
        }
        Ok(Some(entry.value.to_vec()))
    }

    fn put(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_ms: u32,
        topics: Vec<String>,
    ) -> wasmtime::Result<()> {
        self.enter()?;
        let caps = &self.caps;
        // What would fill an eighth of the cache pushes out more than it is worth; with more topics than
        // we keep, a wake-up would be missed. Either is not kept, which the contract allows.
        if (value.len() + key.len()) as u64 > caps.cache.cap / 8 || topics.len() > TOPICS_MAX {
            caps.cache.entries.invalidate(&key);
            return Ok(());
        }
        let shared = &caps.shared;
        let place = |topic: &String| shared.fired.place(shared.bus.topic(&shared.tenant, topic));
        let entry = Entry {
            value: value.into(),
            ttl: Duration::from_millis(ttl_ms.into()),
            since: self.call.since,
            places: topics.iter().map(place).collect(),
        };
        caps.cache.entries.insert(key, entry);
        Ok(())
    }

    fn remove(&mut self, key: String) -> wasmtime::Result<()> {
        self.enter()?;
        self.caps.cache.entries.invalidate(&key);
        Ok(())
    }
}
