//! GET /rooms/{roomId}/state.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate>
//!
//! Who has left gets the state in which they left. Errors: `M_FORBIDDEN`.

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::presentation;

use super::{client_event::with_room_id, states};
use crate::access::Standing;
use crate::ids;

/// Gives the state.
pub fn handle(request: &Request) -> Result {
    let room_id = ids::room(request.param("roomId"))?;
    let user = request.user()?;
    let access = Standing::of(room_id, user)?.access()?;
    let events = states::all(room_id, access, None)?;
    let events = events.iter().map(|found| with_room_id(found, room_id));
    let mut events = events.collect::<std::result::Result<Vec<_>, _>>()?;
    presentation::add_fields(events.iter_mut().map(|event| (None, event)), user);
    Answer::json(&events)
}
