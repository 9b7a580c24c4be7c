//! Push rules, unread counts, notifications and pushers.
//!
//! How counts are kept is told in `migrations/0001_init.sql`.

mod consumer;
mod endpoints;
mod events;
mod receipts;
mod recount;
mod rules;
mod service;

/// The plug-in.
#[derive(Debug)]
pub struct Plugin;

tessera_sdk::serve_http!(Plugin, endpoints::ROUTES);

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_consumer!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_push!(Plugin);
