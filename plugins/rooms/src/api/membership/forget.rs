//! POST /rooms/{roomId}/forget.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget>
//!
//! Errors: 400 `M_UNKNOWN` (still in the room), `M_NOT_FOUND` (was never there).

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch};

use crate::ids;

/// Forgets a room that the user has left. Forgetting twice is no error.
pub fn handle(request: &Request) -> Result {
    let room_id = ids::room(request.param("roomId"))?;
    let user = request.user()?;
    let still_there =
        || Error::new(ErrorCode::Unknown, "a room can be forgotten after it was left").status(400);
    let rows = storage::query(
        "SELECT membership FROM rooms_memberships WHERE room_id = $1 AND user_id = $2",
        params![room_id, user],
    )?;
    match rows.first::<(String,)>()?.as_ref().map(|row| row.0.as_str()) {
        None => return Err(Error::not_found("the user was never in the room")),
        Some("leave" | "ban") => {}
        Some(_) => return Err(still_there()),
    }
    let forgotten = Batch::new()
        .run(
            "UPDATE rooms_memberships SET forgotten = TRUE
             WHERE room_id = $1 AND user_id = $2 AND membership IN ('leave', 'ban')",
            params![room_id, user],
        )
        .expect(1)
        .commit();
    match forgotten {
        Ok(_) => Answer::empty(),
        // Came back in between.
        Err(storage::Error::Conflict(_)) => Err(still_there()),
        Err(error) => Err(error.into()),
    }
}
