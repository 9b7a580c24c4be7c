//! The plug-in on the test host, with a fixture in place of `rooms`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod modules;
mod purged;
mod receipts;
mod server;
mod status;
mod typing;
