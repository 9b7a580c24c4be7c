//! A presence service in place of the one that Tessera brings: the same routes, views and topic, held to the same contract
//! suite; its users fall idle by themselves.

mod receipts;
mod rooms;
mod routes;
mod seen;
mod service;
mod status;
mod typing;

use serde::Deserialize;
use tessera_sdk::{
    bindings::timer::exports::tessera::plugin::timer, config, http::Route, matrix::Error,
};

/// One entry for each route of `plugin.toml`.
pub const ROUTES: &[Route] = &[
    Route::new("typing", typing::put),
    Route::new("receipt", receipts::post),
    Route::new("read-markers", receipts::markers),
    Route::new("status", status::handle),
];

/// The plug-in.
#[derive(Debug)]
pub struct Plugin;

tessera_sdk::serve_http!(Plugin, ROUTES);

/// `[plugins.presence.config]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Config {
    /// Whether presence is told at all.
    enabled: bool,
    /// Milliseconds until who is online becomes unavailable.
    idle_after_ms: u64,
    /// Milliseconds more until who is unavailable goes offline.
    offline_after_ms: u64,
}

fn configured() -> Result<Config, Error> {
    config::get().map_err(Error::internal)
}

impl timer::Guest for Plugin {
    fn fire(name: String, _payload: String) -> Result<(), String> {
        let fired = match name.strip_prefix(typing::TIMER) {
            Some(room) => typing::expire(room),
            None if name == seen::TIMER => seen::sweep(),
            None => Err(Error::internal(format!("no timer is called {name}"))),
        };
        fired.map_err(|error| error.to_string())
    }
}

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_timer!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_presence!(Plugin);
