//! The plug-in on the test host.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod admin;
mod downloads;
mod limits;
mod modules;
mod pending;
mod previews;
mod retention;
mod storage;
mod thumbnails;
mod world;
