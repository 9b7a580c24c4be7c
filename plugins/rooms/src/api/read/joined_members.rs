//! GET /rooms/{roomId}/joined_members.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members>
//!
//! Errors: `M_FORBIDDEN` unless the user is in the room.

use std::collections::BTreeMap;

use serde::Serialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::params;
use tessera_sdk::storage;

use crate::access::{Standing, not_there};
use crate::ids;

#[derive(Serialize)]
struct Member {
    // Null where there is none: clients and suites look for the keys.
    display_name: Option<String>,
    avatar_url: Option<String>,
}

#[derive(Serialize)]
struct Response {
    joined: BTreeMap<String, Member>,
}

/// Gives the members with their names and pictures.
pub fn handle(request: &Request) -> Result {
    let room_id = ids::room(request.param("roomId"))?;
    if Standing::of(room_id, request.user()?)?.membership != "join" {
        return Err(not_there());
    }
    let rows = storage::query(
        "SELECT user_id, display_name, avatar_url FROM rooms_memberships WHERE room_id = $1 AND membership = 'join'",
        params![room_id],
    )?;
    let joined = rows
        .all::<(String, Option<String>, Option<String>)>()?
        .into_iter()
        .map(|(user, display_name, avatar_url)| (user, Member { display_name, avatar_url }))
        .collect();
    Answer::json(&Response { joined })
}
