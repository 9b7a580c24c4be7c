//! GET /rooms/{roomId}/state/{eventType}/{stateKey}.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey>
//!
//! `?format=event` gives the whole event, else the content. Errors: `M_FORBIDDEN`, `M_NOT_FOUND`, `M_INVALID_PARAM`.

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, Pdu};
use tessera_sdk::presentation;

use super::{client_event::with_room_id, states};
use crate::access::Standing;
use crate::ids;

/// Gives one piece of state.
pub fn handle(request: &Request) -> Result {
    let room_id = ids::room(request.param("roomId"))?;
    let whole = match request.query("format") {
        None | Some("content") => false,
        Some("event") => true,
        Some(other) => return Err(Error::invalid_param(format!("format {other:?} is unknown"))),
    };
    let user = request.user()?;
    let access = Standing::of(room_id, user)?.access()?;
    let (kind, key) = (request.param("eventType"), request.param("stateKey"));
    let found = states::one(room_id, access, kind, key)?
        .ok_or_else(|| Error::not_found("the room has no such state"))?;
    if whole {
        let mut event = with_room_id(&found, room_id)?;
        presentation::add_fields([(None, &mut event)], user);
        return Answer::json(&event);
    }
    let pdu = Pdu::parse(&found.json).map_err(Error::internal)?;
    Answer::json(pdu.content)
}
