//! Facts about the bus of one process and between processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod cluster;
mod delivery;
mod wakeups;
