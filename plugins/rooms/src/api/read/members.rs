//! GET /rooms/{roomId}/members.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers>
//!
//! Errors: `M_FORBIDDEN`, `M_INVALID_PARAM` (`at` is no token of /sync or /messages; an unknown membership).

use serde::Serialize;
use serde_json::value::RawValue;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, Pdu};
use tessera_sdk::{params, presentation, storage};

use super::client_event::{Found, with_room_id};
use super::states;
use crate::access::{Access, Left, Standing, not_there, visibility_at};
use crate::core::visibility::Visibility;
use crate::ids;

const KIND: &str = "m.room.member";

#[derive(Serialize)]
struct Response {
    chunk: Vec<Box<RawValue>>,
}

#[derive(serde::Deserialize)]
struct Content {
    membership: String,
}

/// Gives the member events.
pub fn handle(request: &Request) -> Result {
    let room_id = ids::room(request.param("roomId"))?;
    let (only, not) = (membership(request, "membership")?, membership(request, "not_membership")?);
    let at = request.query("at").map(position).transpose()?;
    let user = request.user()?;
    let standing = Standing::of(room_id, user)?;
    let members = match (at, standing.access()?) {
        (None, access) => states::all(room_id, access, Some(KIND))?,
        (Some(position), access) => earlier(&standing, access, room_id, position)?,
    };
    let mut chunk = Vec::new();
    for found in members {
        let pdu = Pdu::parse(&found.json).map_err(Error::internal)?;
        let content: Content = serde_json::from_str(pdu.content.get()).map_err(Error::internal)?;
        let wanted = only.is_none_or(|only| only == content.membership)
            && not.is_none_or(|not| not != content.membership);
        if wanted {
            chunk.push(with_room_id(&found, room_id)?);
        }
    }
    presentation::add_fields(chunk.iter_mut().map(|event| (None, event)), user);
    Answer::json(&Response { chunk })
}

fn membership<'a>(request: &'a Request, name: &str) -> std::result::Result<Option<&'a str>, Error> {
    match request.query(name) {
        Some(value) if !["join", "invite", "leave", "ban", "knock"].contains(&value) => {
            Err(Error::invalid_param(format!("{name} {value:?} is unknown")))
        }
        value => Ok(value),
    }
}

/// The position in a token of /sync (`s`) or /messages (`t`); what follows the first `_` is of other things.
fn position(token: &str) -> std::result::Result<i64, Error> {
    token
        .strip_prefix(['s', 't'])
        .and_then(|rest| rest.split('_').next())
        .and_then(|digits| digits.parse().ok())
        .filter(|position| *position >= 0)
        .ok_or_else(|| Error::invalid_param("at is no token of this server"))
}

/// The members at a position, unless the user may see those of an earlier one only.
fn earlier(
    standing: &Standing,
    access: Access,
    room_id: &str,
    position: i64,
) -> std::result::Result<Vec<Found>, Error> {
    let rows = storage::query(
        "SELECT state_after FROM rooms_events WHERE room_id = $1 AND position <= $2 AND stream = TRUE
         ORDER BY position DESC LIMIT 1",
        params![room_id, position],
    )?;
    let at = rows.first::<(Option<i64>,)>()?.and_then(|(group,)| group).unwrap_or(0);
    let members_at = |position| states::at(room_id, position, Some(KIND), None);
    let until = |position, group| {
        let left = Left { position, group: Some(group) };
        states::all(room_id, Access::Until(left), Some(KIND))
    };
    match access {
        Access::Until(Left { position: left, group: Some(group) }) if at > 0 => {
            until(left, group.min(at))
        }
        // History has gone that would tell.
        Access::Until(left) => members_at(position.min(left.position)),
        Access::Now if standing.membership == "join" => members_at(position),
        // Whoever is not in the room reads what was open then, or what they were there for.
        Access::Now if visibility_at(at)? == Visibility::WorldReadable => members_at(position),
        Access::Now => match standing.left_at {
            Some(left) if !standing.forgotten && at <= left.group.unwrap_or(left.position) => {
                until(position, at)
            }
            _ => Err(not_there()),
        },
    }
}
