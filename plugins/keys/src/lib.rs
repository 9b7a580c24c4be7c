//! End-to-end encryption: keys of devices and users, their signatures, one-time keys, key backup, messages from device to
//! device, dehydrated devices.
//!
//! A device belongs to `accounts`. What is stored here of one that was removed is never shown, because whoever reads joins
//! `accounts_v2_devices`; the consumer takes it away a moment later.

mod backup;
mod changes;
mod claim;
mod config;
mod consumer;
mod cross_signing;
mod dehydrated;
mod device_signing;
mod devices;
mod parts;
mod query;
mod service;
mod signatures;
mod signed;
mod to_device;
mod upload;
mod wakes;

use tessera_sdk::http::Route;

/// One entry for each route of `plugin.toml`.
pub const ROUTES: &[Route] = &[
    Route::new("upload", upload::handle),
    Route::new("query", query::handle),
    Route::new("claim", claim::handle),
    Route::new("changes", changes::handle),
    Route::new("device-signing", device_signing::handle),
    Route::new("signatures", signatures::handle),
    Route::new("send-to-device", to_device::handle),
    Route::new("backup-create", backup::versions::create),
    Route::new("backup-current", backup::versions::current),
    Route::new("backup-version", backup::versions::handle),
    Route::new("backup-update", backup::versions::update),
    Route::new("backup-keys", backup::keys::handle),
    Route::new("backup-keys-put", backup::put::all),
    Route::new("backup-room", backup::keys::handle),
    Route::new("backup-room-put", backup::put::room),
    Route::new("backup-session", backup::keys::handle),
    Route::new("backup-session-put", backup::put::session),
    Route::new("dehydrated", dehydrated::handle),
    Route::new("dehydrated-put", dehydrated::put),
    Route::new("dehydrated-events", dehydrated::events),
];

/// The plug-in.
#[derive(Debug)]
pub struct Plugin;

tessera_sdk::serve_http!(Plugin, ROUTES);

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_consumer!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_keys!(Plugin);
