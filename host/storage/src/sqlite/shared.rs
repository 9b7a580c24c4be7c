//! What the threads of one database share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;

use crate::Wake;
use crate::catalog::Catalog;
use crate::counts::Counts;

/// Shared by the writer, the readers and the database's clones.
pub(super) struct Shared {
    pub(super) horizon: AtomicU64,
    /// Changes with the schema.
    pub(super) generation: AtomicU64,
    pub(super) catalog: ArcSwap<Catalog>,
    pub(super) wake: Arc<dyn Wake>,
    pub(super) stats: Counts,
}

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
