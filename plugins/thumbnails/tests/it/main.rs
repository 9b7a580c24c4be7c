//! The plug-in on the test host, with pictures made here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod hostile;
mod moving;
mod still;
mod world;
