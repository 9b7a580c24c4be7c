//! The plug-in on the test host, with the tables of the real `rooms`, `accounts` and `presence` filled directly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod counting;
mod ignoring;
mod load;
mod mails;
mod members;
mod model;
mod notifications;
mod purged;
mod pushers;
mod receipts;
mod rules;
mod sending;
mod service;
mod together;
mod upgrade;
mod world;
