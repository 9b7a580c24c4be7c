//! What can be found: public rooms, rooms of a space, previews of rooms, users.
//!
//! Everything is read from the views of `rooms` and `accounts`; of its own it has an index of users' names.

mod about;
mod body;
mod consumer;
mod endpoints;
mod settings;

use tessera_sdk::bindings::lifecycle::exports::tessera::plugin::lifecycle::Guest as LifecycleGuest;

/// The plug-in.
#[derive(Debug)]
pub struct Plugin;

tessera_sdk::serve_http!(Plugin, endpoints::ROUTES);

impl LifecycleGuest for Plugin {
    fn start() -> Result<(), String> {
        settings::Settings::read().map(|_| ())
    }
}

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_lifecycle!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_consumer!(Plugin);
