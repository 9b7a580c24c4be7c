//! The plug-in against the real storage and the real rooms, without wasm.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod harness;
mod hierarchy;
mod mutual_rooms;
mod public_rooms;
mod room_summary;
mod users;
