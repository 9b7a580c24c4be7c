//! Typing, receipts and presence.

mod read_markers;
mod receipt;
mod room;
mod status;
mod typing;

use tessera_sdk::bindings::http::exports::tessera::plugin::http::Guest;
use tessera_sdk::bindings::timer::exports::tessera::plugin::timer;
use tessera_sdk::http::{self, Outcome, Principal, Route, WakeReason, WireRequest};

/// One entry for each route of `plugin.toml`.
pub const ROUTES: &[Route] = &[
    Route::new("typing", typing::handle),
    Route::new("receipt", receipt::handle),
    Route::new("read-markers", read_markers::handle),
    Route::new("status", status::handle),
];

/// The plug-in.
#[derive(Debug)]
pub struct Plugin;

impl Guest for Plugin {
    fn handle(request: WireRequest) -> Outcome {
        http::serve(ROUTES, request)
    }

    fn resume(
        route: String,
        state: Vec<u8>,
        reason: WakeReason,
        principal: Option<Principal>,
    ) -> Outcome {
        http::resume(ROUTES, &route, state, reason, principal)
    }
}

impl timer::Guest for Plugin {
    fn fire(name: String, _payload: String) -> Result<(), String> {
        match name.strip_prefix(typing::TIMER_PREFIX) {
            Some(room) => typing::expire(room).map_err(|error| error.to_string()),
            None => Err(format!("no timer is called {name}")),
        }
    }
}

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_http!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_timer!(Plugin);
