//! Ids of requests.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Gives out ids: unique in the process by a counter, and between processes by a random start.
pub(crate) struct RequestIds {
    start: u32,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        Self { start: (random >> 32) as u32, next: AtomicU64::new(1) }
    }

    /// Such as `9f1c03aa-2b`.
    pub(crate) fn next(&self) -> String {
        format!("{:08x}-{:x}", self.start, self.next.fetch_add(1, Ordering::Relaxed))
    }
}
