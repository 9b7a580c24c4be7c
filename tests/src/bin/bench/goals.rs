//! The targets, and what is known of other servers from before.

/// A limit for one figure.
pub(crate) struct Goal {
    /// The figure's name.
    pub(crate) name: &'static str,
    /// The value must not be above (`Most`) or below (`Least`) this.
    pub(crate) bound: Bound,
    /// Figures of other servers as measured when the target was set; empty when there are none.
    pub(crate) peers: &'static str,
}

/// Which side of a value is good.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    Most(f64),
    Least(f64),
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::Most(limit) => value <= limit,
            Self::Least(limit) => value >= limit,
        }
    }
}

use Bound::{Least, Most};

const fn goal(name: &'static str, bound: Bound, peers: &'static str) -> Goal {
    Goal { name, bound, peers }
}

/// The goal of a figure.
pub(crate) fn of(name: &str) -> Option<&'static Goal> {
    GOALS.iter().find(|g| g.name == name)
}

static GOALS: &[Goal] = &[
    goal("start: cached, first answer", Most(300.0), ""),
    goal("start: memory idle", Most(80.0), ""),
    goal("edge: requests against native", Least(70.0), ""),
    goal("edge: p50 over native", Most(40.0), ""),
    goal("noop: requests against native", Least(70.0), ""),
    goal("noop: p50 over native", Most(40.0), ""),
    goal("decision: wasm against native", Most(1.6), ""),
    goal("spread: CPU per event", Most(1.0), "Tuwunel 1.96, Synapse 30"),
    goal("spread: events", Least(1000.0), "Tuwunel 602 without fsync, Synapse 20-40"),
    goal("hot, 8 senders: CPU per event", Most(2.0), "Tuwunel 8.2, Synapse 25-32"),
    goal("hot, 8 senders: events", Least(89.0), "Tuwunel 89"),
    goal("joins: CPU each", Most(5.0), "Tuwunel 18, Synapse 58"),
    goal("state: CPU each", Most(3.0), "Tuwunel 5.7, Synapse 47"),
    goal("wake: p50", Most(2.0), "Tuwunel 2.0, Synapse 48 (100 syncs)"),
    goal("wake: p99", Most(15.0), "Tuwunel 17, Synapse 115 (100 syncs)"),
    goal("wake: CPU per wake", Most(0.4), "Tuwunel 1.25, Synapse 10 (100 syncs)"),
    goal("wake: memory per idle sync", Most(16.0), ""),
    goal("one room: last answer", Most(1000.0), ""),
    goal("initial: CPU each", Most(12.0), "Tuwunel 30, Synapse ~290 (30 rooms)"),
    goal("initial, lazy: CPU each", Most(12.0), "Tuwunel 30, Synapse ~290 (30 rooms)"),
    goal("nodes: PostgreSQL against SQLite, CPU", Most(2.0), "Synapse 31-44 ms each"),
    goal("nodes: two nodes with everything against one process", Least(85.0), ""),
    goal("tenants, 1000: memory, all used, 100 of them awake", Most(1024.0), ""),
    goal("tenants: memory of one that was never used", Most(64.0), ""),
    goal("tenants: memory of one that fell asleep", Most(64.0), ""),
    goal("tenants: first request to a sleeper, p99", Most(50.0), ""),
    goal("tenants: p99 beside one at full load against alone", Most(2.0), ""),
    goal("module: Rust, warm", Most(15.0), ""),
    goal("module: JavaScript, warm", Most(60.0), ""),
    goal("module: Python, warm", Most(60.0), ""),
    goal("module: Rust, memory of a live instance", Most(256.0), ""),
    goal("module: JavaScript, memory of a live instance", Most(3072.0), ""),
    goal("module: Python, memory of a live instance", Most(6144.0), ""),
    goal("send, Rust checker: p50 added", Most(15.0), ""),
    goal("send, JavaScript checker: p50 added", Most(60.0), ""),
    goal("send, Python checker: p50 added", Most(60.0), ""),
];
