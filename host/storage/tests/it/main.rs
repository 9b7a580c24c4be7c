//! Integration tests of the storage crate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod caps;
mod commit;
mod crash;
mod fences;
mod fulltext;
mod migrations;
mod outbox;
mod support;
mod timers;
mod types;
