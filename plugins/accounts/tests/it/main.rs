//! The plug-in by itself, on the test host.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod account_data;
mod admin;
mod admin_notices;
mod admin_register;
mod caps;
mod devices;
mod discovery;
mod filters;
mod guests;
mod identity_servers;
mod login;
mod login_modules;
mod modules;
mod password;
mod profile;
mod prove;
mod quota;
mod races;
mod refresh;
mod register;
mod services;
mod services_for_modules;
mod stages;
mod tags;
mod threepids;
mod tokens;
mod words;
