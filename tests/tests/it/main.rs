//! The server from outside: started as an operator would, spoken to as a client would.
//!
//! `TESSERA_BIN` and `TESSERA_PLUGINS` say what is tested (default: `target/debug/tessera`, `target/plugins`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod abandoned;
mod authoring;
mod buckets;
mod client;
mod clients;
mod common;
mod crash;
mod disk;
mod e2e;
mod edge;
mod events;
mod identifiers;
mod json;
mod load;
mod modules;
mod nodes;
mod operator;
mod parked;
mod policy;
mod sandbox;
mod secrets;
mod stopping;
mod swap;
mod tenants;
mod tokens;
mod traces;
mod transactions;
mod verify;
