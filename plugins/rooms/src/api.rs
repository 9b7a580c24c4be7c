//! What clients ask: one endpoint, one file, in the order of the client-server specification.

pub mod body;
pub mod create;
pub mod membership;
pub mod send;

use tessera_sdk::http::Route;

/// Every route of the manifest.
pub const ROUTES: &[Route] = &[
    Route::new("create-room", create::handle),
    Route::new("join", membership::join::by_id_or_alias),
    Route::new("join-room", membership::join::by_id),
    Route::new("send", send::message::handle),
];
