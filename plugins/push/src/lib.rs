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

use tessera_sdk::bindings::http::exports::tessera::plugin::http::Guest;
use tessera_sdk::http::{self, Outcome, Principal, WakeReason, WireRequest};

/// The plug-in.
#[derive(Debug)]
pub struct Plugin;

impl Guest for Plugin {
    fn handle(request: WireRequest) -> Outcome {
        http::serve(endpoints::ROUTES, request)
    }

    fn resume(
        route: String,
        state: Vec<u8>,
        reason: WakeReason,
        principal: Option<Principal>,
    ) -> Outcome {
        http::resume(endpoints::ROUTES, &route, state, reason, principal)
    }
}

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_http!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_consumer!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_push!(Plugin);
