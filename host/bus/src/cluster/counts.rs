//! Figures of the bus between nodes.

use std::sync::atomic::{AtomicU64, Ordering};

use super::wakes::lock;
use super::{Cluster, Shared};

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) calls: AtomicU64,
    pub(crate) calls_unavailable: AtomicU64,
    pub(crate) calls_unknown: AtomicU64,
    pub(crate) served: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) wakes_sent: AtomicU64,
    pub(crate) wakes_received: AtomicU64,
    pub(crate) wakes_overrun: AtomicU64,
    pub(crate) hints_sent: AtomicU64,
    pub(crate) hints_lost: AtomicU64,
    pub(crate) hints_taken: AtomicU64,
}

/// Counters of a node's part in the cluster since it joined, and gauges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterStats {
    /// Calls made.
    pub calls: u64,
    /// Of these, ended as unavailable.
    pub calls_unavailable: u64,
    /// Of these, ended as unknown.
    pub calls_unknown: u64,
    /// Calls served.
    pub served: u64,
    /// Calls refused because too many were in hand.
    pub refused: u64,
    /// Calls in hand, made and served (gauge).
    pub ports: u64,
    /// Messages of wake-ups sent.
    pub wakes_sent: u64,
    /// Messages of wake-ups received, our own too.
    pub wakes_received: u64,
    /// Times that a queue of wake-ups ran over, so that everything of a tenant fired.
    pub wakes_overrun: u64,
    /// Tenants attached (gauge).
    pub attached: u64,
    /// Hints of durable topics that JetStream has taken.
    pub hints_sent: u64,
    /// Hints that it has not; they are sent again.
    pub hints_lost: u64,
    /// Hints taken from it.
    pub hints_taken: u64,
}

impl Cluster {
    /// Figures for metrics.
    pub fn stats(&self) -> ClusterStats {
        let Shared { counts, inbox, topics: _, wakes, .. } = &*self.shared;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ClusterStats {
            calls: of(&counts.calls),
            calls_unavailable: of(&counts.calls_unavailable),
            calls_unknown: of(&counts.calls_unknown),
            served: of(&counts.served),
            refused: of(&counts.refused),
            ports: inbox.held() as u64,
            wakes_sent: of(&counts.wakes_sent),
            wakes_received: of(&counts.wakes_received),
            wakes_overrun: of(&counts.wakes_overrun),
            attached: lock(&wakes.attached).len() as u64,
            hints_sent: of(&counts.hints_sent),
            hints_lost: of(&counts.hints_lost),
            hints_taken: of(&counts.hints_taken),
        }
    }
}
