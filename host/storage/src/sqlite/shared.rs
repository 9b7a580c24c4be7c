//! What the threads of one database share.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::{Stats, Wake};

use super::catalog::Catalog;

/// Shared by the writer, the readers and the database's clones.
pub(super) struct Shared {
    pub(super) horizon: AtomicU64,
    /// Changes with the schema.
    pub(super) generation: AtomicU64,
    pub(super) catalog: ArcSwap<Catalog>,
    pub(super) wake: Arc<dyn Wake>,
    pub(super) stats: Counts,
}

/// Counters behind [`Stats`].
#[derive(Default)]
pub(super) struct Counts {
    pub(super) groups: AtomicU64,
    pub(super) group_members: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) reads: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) commit_micros: AtomicU64,
    pub(super) sync_micros: AtomicU64,
    latency: [AtomicU64; 10],
}

/// Upper bounds of the latency classes, milliseconds; above the last: the tenth class.
const CLASSES: [u64; 9] = [1, 2, 5, 10, 20, 50, 100, 200, 500];

impl Shared {
    pub(super) fn new(wake: Arc<dyn Wake>) -> Self {
        Self {
            horizon: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            catalog: ArcSwap::from_pointee(Catalog::default()),
            wake,
            stats: Counts::default(),
        }
    }
}

impl Counts {
    pub(super) fn commit_took(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.commit_micros.fetch_add(micros, Ordering::Relaxed);
        let class = CLASSES.iter().position(|ms| micros <= ms * 1_000).unwrap_or(9);
        if let Some(counter) = self.latency.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn snapshot(&self, write_queue: u64, read_queue: u64) -> Stats {
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

/// The names behind a set of granted views: themselves and the views they are made of, and all
/// that these read.
pub(super) fn closure(catalog: &Catalog, reads: &[String]) -> (HashSet<String>, HashSet<String>) {
    let (mut views, mut bases) = (HashSet::new(), HashSet::new());
    let mut open: Vec<&String> = reads.iter().collect();
    while let Some(name) = open.pop() {
        if let Some(parts) = catalog.views.get(name)
            && views.insert(name.clone())
        {
            open.extend(parts);
            bases.extend(parts.iter().cloned());
        }
    }
    (views, bases)
}
