//! GET /joined_rooms.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms>

use serde::Serialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::params;
use tessera_sdk::storage;

#[derive(Serialize)]
struct Response {
    joined_rooms: Vec<String>,
}

/// Lists the user's rooms.
pub fn handle(request: &Request) -> Result {
    let rows = storage::query(
        "SELECT room_id FROM rooms_memberships WHERE user_id = $1 AND membership = 'join' ORDER BY room_id",
        params![request.user()?],
    )?;
    let joined_rooms = rows.all::<(String,)>()?.into_iter().map(|(room_id,)| room_id).collect();
    Answer::json(&Response { joined_rooms })
}
