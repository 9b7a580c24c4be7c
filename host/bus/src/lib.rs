//! The bus: wake-ups, durable topics, and calls between nodes.
//!
//! *Wake-ups* ([`Bus::watch`], [`Bus::notify`]) are best effort and carry no data; what they speak of is in the
//! database. *Topics* ([`Deliverer`]) are durable messages that leave a commit through the outbox and reach each
//! consumer at least once, in order per key.
//!
//! [`Bus`] is the embedded bus of one process. [`Cluster`] joins those of several nodes: it feeds what other nodes fire
//! into each [`Bus`], carries calls, and shares the messages of topics among the nodes for the same [`Consumer`]s.

mod cluster;
mod delivery;
mod registry;
mod topic;
mod wake;
mod wakeups;
mod watch;

pub use cluster::{
    Attached, CallFailure, CallHeaders, Cluster, ClusterConfig, ClusterError, ClusterStats,
    ClusterTls, Connection, Credentials, NodeInfo, Serve, Served, WakeTenant,
};
pub use delivery::{BoxFuture, ConsumeError, Consumer, Deliverer, DeliveryConfig, DeliveryStats};
pub use topic::Topic;
pub use wake::TenantWake;
pub use wakeups::{Bus, BusConfig, Fired, Listening, Mark, WatchError};
pub use watch::Watch;
