//! The command line: what it says where things are wrong, without any guest.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod check;
mod copy;
mod folder;
mod modules;
mod nodes;
mod plugin;
mod run;
mod tenants;
mod tool;
mod topics;
