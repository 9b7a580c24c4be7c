//! Push rules, unread counts, notifications and pushers.
//!
//! How counts are kept is told in `migrations/0001_init.sql`.

mod consumer;
mod endpoints;
mod events;
mod later;
mod purged;
mod pushers;
mod receipts;
mod recount;
mod rules;
mod send;
mod service;

use tessera_sdk::bindings::timer::exports::tessera::plugin::timer;

/// The plug-in.
#[derive(Debug)]
pub struct Plugin;

tessera_sdk::serve_http!(Plugin, endpoints::ROUTES);

impl timer::Guest for Plugin {
    fn fire(name: String, _payload: String) -> Result<(), String> {
        if name == later::TIMER {
            return later::fire().map_err(|error| error.to_string());
        }
        match name.strip_prefix(pushers::TIMER_PREFIX) {
            Some(shard) => send::shard(shard).map_err(|error| error.to_string()),
            None => Err(format!("no timer is called {name}")),
        }
    }
}

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_consumer!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_push!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_timer!(Plugin);
