//! The plug-in on the test host, with fixtures in place of `accounts` and `rooms`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod server;
mod views;
