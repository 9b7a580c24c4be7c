//! Counters of a database.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Stats;

/// Counters behind [`Stats`].
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) groups: AtomicU64,
    pub(crate) group_members: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) rows: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) commit_micros: AtomicU64,
    pub(crate) sync_micros: AtomicU64,
    latency: [AtomicU64; 10],
}

/// Upper bounds of the latency classes, milliseconds; above the last: the tenth class.
const CLASSES: [u64; 9] = [1, 2, 5, 10, 20, 50, 100, 200, 500];

impl Counts {
    pub(crate) fn commit_took(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.commit_micros.fetch_add(micros, Ordering::Relaxed);
        let class = CLASSES.iter().position(|ms| micros <= ms * 1_000).unwrap_or(9);
        if let Some(counter) = self.latency.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn snapshot(&self, write_queue: u64, read_queue: u64) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            write_queue,
            read_queue,
            groups: get(&self.groups),
            group_members: get(&self.group_members),
            commits: get(&self.commits),
            conflicts: get(&self.conflicts),
            failures: get(&self.failures),
            reads: get(&self.reads),
            rows: get(&self.rows),
            bytes: get(&self.bytes),
            commit_micros: get(&self.commit_micros),
            sync_micros: get(&self.sync_micros),
            commit_latency: std::array::from_fn(|i| self.latency.get(i).map_or(0, get)),
        }
    }
}
