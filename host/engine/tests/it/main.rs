//! Facts about the engine, on tiny components written by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    clippy::result_large_err,
    reason = "tests"
)]

mod cache;
mod calls;
mod capabilities;
mod fuzz;
mod hooks;
mod http;
mod limits;
mod links;
mod load;
mod peers;
mod pieces;
mod quotas;
mod refusals;
mod remote;
mod support;
mod swap;
mod timers;
