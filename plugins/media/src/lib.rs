//! The content repository: uploads, downloads, thumbnails, previews of pages.
//!
//! Bytes never pass through here but for previews: the host streams bodies into blobs and blobs into answers. What is kept here is who
//! uploaded what, which blob it is, and how many rows speak of a blob. Pictures are decoded by `thumbnails`.
//!
//! Spec: client-server API, Content repository.

mod admin;
mod config;
mod create;
mod disposition;
mod download;
mod limits;
mod place;
mod policy;
mod preview;
mod remote;
mod retention;
mod serve;
mod settings;
mod sizes;
mod store;
mod sweep;
mod thumbnail;
mod upload;
mod upload_to;
mod wait;

use tessera_sdk::bindings::lifecycle::exports::tessera::plugin::lifecycle;
use tessera_sdk::bindings::timer::exports::tessera::plugin::timer;
use tessera_sdk::http::Route;

/// One entry for each route of `plugin.toml`.
pub const ROUTES: &[Route] = &[
    Route::new("upload", upload::handle),
    Route::new("create", create::handle),
    Route::new("upload-to", upload_to::handle),
    Route::parking("download", download::handle, download::resume),
    Route::parking("download-open", download::handle_open, download::resume),
    Route::parking("thumbnail", thumbnail::handle, thumbnail::resume),
    Route::parking("thumbnail-open", thumbnail::handle_open, thumbnail::resume),
    Route::new("config", settings::handle),
    Route::new("preview", preview::handle),
    Route::new("admin-quarantine", admin::quarantine::one),
    Route::new("admin-unquarantine", admin::quarantine::release),
    Route::new("admin-protect", admin::quarantine::protect),
    Route::new("admin-unprotect", admin::quarantine::unprotect),
    Route::new("admin-user-quarantine", admin::quarantine::user),
    Route::new("admin-room-quarantine", admin::quarantine::room),
    Route::new("admin-room", admin::list::room),
    Route::new("admin-user", admin::users::media),
    Route::new("admin-file", admin::delete::one),
    Route::new("admin-statistics", admin::statistics::users),
    Route::new("admin-delete", admin::delete::many),
    Route::new("admin-purge", admin::delete::purge),
];

/// The plug-in.
#[derive(Debug)]
pub struct Plugin;

tessera_sdk::serve_http!(Plugin, ROUTES);

impl lifecycle::Guest for Plugin {
    fn start() -> Result<(), String> {
        config::get()?;
        sweep::later()
    }
}

impl timer::Guest for Plugin {
    fn fire(name: String, payload: String) -> Result<(), String> {
        match name.as_str() {
            sweep::TIMER => sweep::run().map_err(|error| error.to_string()),
            retention::TIMER => retention::run().map_err(|error| error.to_string()),
            name if name.starts_with(admin::delete::TIMER) => {
                admin::delete::resume(&payload).map_err(|error| error.to_string())
            }
            _ => Err(format!("no timer is called {name}")),
        }
    }
}

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_lifecycle!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_timer!(Plugin);
