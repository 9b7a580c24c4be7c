//! What can be found: public rooms, rooms of a space, previews of rooms, users.
//!
//! Everything is read from the views of `rooms` and `accounts`; of its own it has an index of users' names.

mod about;
mod body;
mod consumer;
mod endpoints;
mod filling;
mod settings;

use tessera_sdk::bindings::lifecycle::exports::tessera::plugin::lifecycle::Guest as LifecycleGuest;
use tessera_sdk::bindings::timer::exports::tessera::plugin::timer::Guest as TimerGuest;

/// The plug-in.
#[derive(Debug)]
pub struct Plugin;

tessera_sdk::serve_http!(Plugin, endpoints::ROUTES);

impl LifecycleGuest for Plugin {
    fn start() -> Result<(), String> {
        settings::Settings::read()?;
        filling::soon()
    }
}

impl TimerGuest for Plugin {
    fn fire(name: String, _payload: String) -> Result<(), String> {
        match name.as_str() {
            filling::TIMER => filling::run().map_err(|error| error.to_string()),
            _ => Err(format!("no timer is called {name}")),
        }
    }
}

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_lifecycle!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_consumer!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_timer!(Plugin);
