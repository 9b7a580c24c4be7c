//! `tessera:host/cache`: bounded memory that the instances of one plug-in and tenant share.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{Expiry, notification::RemovalCause, sync::Cache};
use tessera_bus::{Mark, Topic};

use super::Shared;
use crate::{bindings::tessera::host::cache as wit, state::State};

#[derive(Clone)]
struct Entry {
    value: Arc<[u8]>,
    ttl: Duration,
    /// The start of the call that put it: one that was read before a topic fired and put after it is void, too.
    since: Mark,
    topics: Arc<[Topic]>,
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
    pub(crate) fn new(cap: u64, shared: &Arc<Shared>, plugin: &Arc<str>) -> Self {
        let (shared, plugin) = (Arc::clone(shared), Arc::clone(plugin));
        let entries = Cache::builder()
            .max_capacity(cap)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    shared.labels.limit(&plugin, "cache");
                }
            })
            .weigher(|key: &String, entry: &Entry| {
                let bytes = key.len() + entry.value.len() + entry.topics.len() * 8 + OVERHEAD;
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
        let Some(entry) = self.caps.cache.entries.get(&key) else { return Ok(None) };
        if self.caps.shared.bus.has_fired(entry.since, &entry.topics) {
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
            caps.hit("cache");
            return Ok(());
        }
        let shared = &caps.shared;
        let entry = Entry {
            value: value.into(),
            ttl: Duration::from_millis(ttl_ms.into()),
            since: self.call.since,
            topics: topics.iter().map(|topic| shared.bus.topic(&shared.tenant, topic)).collect(),
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
