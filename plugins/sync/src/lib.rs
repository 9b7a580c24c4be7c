//! What clients read. Owns no rows: it reads the views of `docs/views.md`.

mod aggregate;
mod budget;
mod context;
pub(crate) mod devices;
pub mod event;
mod fill;
pub mod filter;
mod history;
mod ignored;
mod members;
mod messages;
pub(crate) mod near;
mod old;
pub(crate) mod online;
mod raw;
mod receipts;
mod relations;
mod search;
mod sliding;
mod state;
pub mod sync;
mod threads;
mod timestamp;
pub mod token;
pub mod visibility;

use tessera_sdk::http::Route;

/// One entry for each route of `plugin.toml`.
pub const ROUTES: &[Route] = &[
    Route::parking("sync", sync::handle, sync::resume).in_pieces(sync::whole::next),
    Route::parking("sliding", sliding::handle, sliding::resume),
    Route::parking("sliding-unstable", sliding::handle_unstable, sliding::resume),
    Route::new("messages", messages::handle),
    Route::new("context", context::handle),
    Route::new("relations", relations::handle),
    Route::new("threads", threads::handle),
    Route::new("timestamp", timestamp::handle),
    Route::new("search", search::handle),
    Route::parking("events", sync::stream::handle, sync::stream::resume),
    Route::new("event", old::event::handle),
    Route::new("initial-sync", sync::initial::handle),
    Route::new("room-initial-sync", old::room::handle),
];

/// The plug-in.
#[derive(Debug)]
pub struct Plugin;

tessera_sdk::serve_http!(Plugin, ROUTES);
tessera_sdk::serve_pieces!(Plugin, ROUTES);
