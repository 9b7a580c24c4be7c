//! The plug-in on the test host, with fixtures in place of `accounts` and `rooms`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod backup;
mod changes;
mod claim;
mod cross_signing;
mod dehydrated;
mod devices;
mod server;
mod services;
mod signer;
mod to_device;
mod upload;
