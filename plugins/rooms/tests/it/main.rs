//! The plug-in against the real storage, without wasm.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod about;
mod admin;
mod bad_input;
mod blocking;
mod concurrency;
mod create;
mod delayed;
mod directory;
mod forks;
mod formats;
mod graph;
mod guests;
mod harness;
mod hooks;
mod large;
mod late;
mod membership;
mod peer;
mod purge;
mod reading;
mod receive;
mod redaction;
mod relations;
mod reports;
mod resolution;
mod send;
mod service;
mod shut_down;
mod state;
mod threepids;
mod upgrade;
