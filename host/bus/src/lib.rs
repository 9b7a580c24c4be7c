//! The bus of one process: wake-ups and durable topics.
//!
//! *Wake-ups* ([`Bus::watch`], [`Bus::notify`]) are best effort and carry no data; what they speak of is in the
//! database. *Topics* ([`Deliverer`]) are durable messages that leave a commit through the outbox and reach each
//! consumer at least once, in order per key.
//!
//! This is the embedded bus. A bus between processes stands beside it: it feeds what other nodes fire into
//! [`Bus::notify`], and reads and acknowledges for the same [`Consumer`]s.

mod delivery;
mod registry;
mod topic;
mod wake;
mod wakeups;
mod watch;

pub use delivery::{BoxFuture, ConsumeError, Consumer, Deliverer, DeliveryConfig, DeliveryStats};
pub use topic::Topic;
pub use wake::TenantWake;
pub use wakeups::{Bus, BusConfig, Listening, Mark, WatchError};
pub use watch::Watch;
