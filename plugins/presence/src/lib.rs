//! Typing, receipts and presence.

mod config;
mod purged;
mod read_markers;
mod receipt;
mod room;
mod routes;
mod seen;
mod service;
mod status;
mod typing;

use tessera_sdk::bindings::timer::exports::tessera::plugin::timer;
use tessera_sdk::http::Route;

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

tessera_sdk::serve_http!(Plugin, ROUTES);

impl timer::Guest for Plugin {
    fn fire(name: String, payload: String) -> Result<(), String> {
        match name.strip_prefix(typing::TIMER_PREFIX) {
            Some(room) => {
                let room = if payload.is_empty() { room } else { &payload };
                typing::expire(room).map_err(|error| error.to_string())
            }
            None if name == seen::TIMER => seen::sweep().map_err(|error| error.to_string()),
            None => Err(format!("no timer is called {name}")),
        }
    }
}

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_consumer!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_timer!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_presence!(Plugin);
