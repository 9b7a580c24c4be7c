//! Who watches what: a sharded, ordered map of (topic, watch).
//!
//! One ordered map in place of a list for each topic: a subscription costs about 35 bytes, and leaving a topic
//! that thousands watch is as cheap as leaving one that nobody else does.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::topic::Topic;
use crate::watch::Signal;

/// Locks are held for one insertion or one topic's look-up, so a few suffice; a power of two.
const SHARDS: usize = 64;

/// Entries looked at under one lock when all are walked through.
const STEP: usize = 4_096;

type Shard = BTreeMap<(Topic, u64), Arc<Signal>>;

pub(crate) struct Registry {
    shards: Vec<Mutex<Shard>>,
    /// Subscriptions in all shards.
    held: AtomicUsize,
    cap: usize,
}

impl Registry {
    pub(crate) fn new(cap: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::new())).collect();
        Self { shards, held: AtomicUsize::new(0), cap }
    }

    /// Subscriptions held now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Enters a signal under each topic (sorted, without doubles). `false`: the cap would be passed.
    pub(crate) fn enter(&self, topics: &[Topic], signal: &Arc<Signal>) -> bool {
        let before = self.held.fetch_add(topics.len(), Ordering::Relaxed);
        if before.saturating_add(topics.len()) > self.cap {
            self.held.fetch_sub(topics.len(), Ordering::Relaxed);
            return false;
        }
        for topic in topics {
            if let Some(mut shard) = self.shard(*topic) {
                shard.insert((*topic, signal.id()), Arc::clone(signal));
            }
        }
        true
    }

    pub(crate) fn leave(&self, topics: &[Topic], id: u64) {
        for topic in topics {
            if let Some(mut shard) = self.shard(*topic) {
                shard.remove(&(*topic, id));
            }
        }
        self.held.fetch_sub(topics.len(), Ordering::Relaxed);
    }

    /// The signals that stand under a topic. They are fired by the caller, outside the lock.
    pub(crate) fn under(&self, topic: Topic, into: &mut Vec<Arc<Signal>>) {
        if let Some(shard) = self.shard(topic) {
            let found = shard.range((topic, 0)..=(topic, u64::MAX));
            into.extend(found.map(|(_, signal)| Arc::clone(signal)));
        }
    }

    /// Every signal of these tenants (by [`Topic::whole`]). Takes each lock for a short while only, so what enters
    /// meanwhile may be left out.
    pub(crate) fn of_tenants(&self, tenants: &HashSet<Topic>) -> Vec<Arc<Signal>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let mut after = Bound::Unbounded;
            loop {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                let mut last = None;
                for (key, signal) in shard.range((after, Bound::Unbounded)).take(STEP) {
                    last = Some(*key);
                    // Once for each signal, not once for each of its topics.
                    if signal.first() == key.0 && tenants.contains(&signal.tenant()) {
                        found.push(Arc::clone(signal));
                    }
                }
                let Some(last) = last else { break };
                after = Bound::Excluded(last);
            }
        }
        found
    }

    fn shard(&self, topic: Topic) -> Option<MutexGuard<'_, Shard>> {
        // The high bits, because the map orders by them too: a shard's topics lie close together.
        let index = (topic.bits() >> 32) as usize % SHARDS;
        self.shards.get(index).map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
