//! The plug-in on the test host, with the tables of the real `rooms` and `presence` filled directly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod bundles;
mod context;
mod counts;
mod devices;
mod ephemeral;
mod erased;
mod filters;
mod history;
mod horizon;
mod incremental;
mod initial;
mod late;
mod lazy;
mod load;
mod membership;
mod near;
mod old;
mod online;
mod parking;
mod presentation;
mod relations;
mod search;
mod sliding;
mod stream;
mod threads;
mod whole;
mod world;
