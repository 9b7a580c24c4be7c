//! GET /rooms/{roomId}/state.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate>
//!
//! Who has left gets the state in which they left. Errors: `M_FORBIDDEN`.

use tessera_sdk::http::{Answer, Request, Result};

use super::{client_event::with_room_id, states};
use crate::access::Standing;
use crate::ids;

/// Gives the state.
pub fn handle(request: &Request) -> Result {
    let room_id = ids::room(request.param("roomId"))?;
    let access = Standing::of(room_id, request.user()?)?.access()?;
    let events = states::all(room_id, access, None)?;
    let events = events.iter().map(|found| with_room_id(found, room_id));
    Answer::json(&events.collect::<std::result::Result<Vec<_>, _>>()?)
}
