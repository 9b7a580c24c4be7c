//! The event graph: rooms, their events, state and members.
//!
//! [`crate::core`] decides and knows no host; [`store`] reads and writes tables; [`act`] joins the two, optimistically;
//! [`api`] answers clients, one endpoint a file.

pub mod access;
pub mod act;
pub mod admin;
pub mod api;
pub mod asker;
pub mod compose;
mod consumer;
pub mod core;
pub mod delayed;
pub mod directory;
mod errors;
pub mod filling;
pub mod ids;
pub mod policy;
pub mod profiles;
pub mod provider;
pub mod receive;
pub mod redaction;
pub mod settings;
pub mod shut_down;
pub mod store;
mod timer;
pub mod transactions;

use tessera_sdk::bindings::lifecycle::exports::tessera::plugin::lifecycle::Guest as LifecycleGuest;

/// The plug-in.
#[derive(Debug)]
pub struct Plugin;

tessera_sdk::serve_http!(Plugin, api::ROUTES);

impl LifecycleGuest for Plugin {
    fn start() -> Result<(), String> {
        settings::Settings::read()?;
        filling::soon()
    }
}

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_lifecycle!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_consumer!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_timer!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_rooms!(Plugin);
