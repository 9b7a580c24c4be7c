//! GET /_synapse/admin/v1/rooms/{roomId}/members, …/state, …/timestamp_to_event and GET /_synapse/admin/v1/fetch_event/{eventId}.
//!
//! What is in a room, whoever may see it. Errors: `M_NOT_FOUND`, `M_INVALID_PARAM`, `M_MISSING_PARAM`.

use serde::Serialize;
use serde_json::value::RawValue;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage;

use super::page;
use crate::access::Access;
use crate::api::read::client_event::{Found, with_room_id};
use crate::api::read::states;
use crate::{admin, ids};

/// Members that are read at a time.
const MEMBERS: u32 = 10_000;

#[derive(Serialize)]
struct Members {
    members: Vec<String>,
    total: usize,
}

#[derive(Serialize)]
struct State {
    state: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
struct Event {
    event: Box<RawValue>,
}

#[derive(Serialize)]
struct Closest {
    event_id: String,
    origin_server_ts: i64,
}

/// Who is in the room.
pub fn members(request: &Request) -> Result {
    admin::only(request)?;
    let room_id = admin::room(request, "roomId")?;
    let mut members: Vec<String> = Vec::new();
    loop {
        let last = members.last().cloned().unwrap_or_default();
        let rows = storage::query(
            "SELECT user_id FROM rooms_memberships WHERE room_id = $1 AND membership = 'join' AND user_id > $2
             ORDER BY user_id LIMIT $3",
            params![room_id, last, MEMBERS],
        )?
        .all::<(String,)>()?;
        if rows.is_empty() {
            return Answer::json(&Members { total: members.len(), members });
        }
        members.extend(rows.into_iter().map(|(user,)| user));
    }
}

/// The current state, or that of one type.
pub fn state(request: &Request) -> Result {
    admin::only(request)?;
    let room_id = admin::room(request, "roomId")?;
    let kind = request.query("type").filter(|kind| !kind.is_empty());
    let events = states::all(room_id, Access::Now, kind)?;
    let events = events.iter().map(|found| with_room_id(found, room_id));
    Answer::json(&State { state: events.collect::<std::result::Result<_, Error>>()? })
}

/// The event that is closest to a time.
pub fn timestamp(request: &Request) -> Result {
    admin::only(request)?;
    let room_id = admin::room(request, "roomId")?;
    let ts = request.query_as::<i64>("ts")?.ok_or_else(|| Error::missing_param("ts is missing"))?;
    let (compared, direction) =
        if page::forwards(request, true)? { (">=", "ASC") } else { ("<=", "DESC") };
    let found = storage::query(
        &format!(
            "SELECT event_id, origin_ts FROM rooms_events
             WHERE room_id = $1 AND origin_ts {compared} $2 AND stream = TRUE
             ORDER BY origin_ts {direction}, position {direction} LIMIT 1"
        ),
        params![room_id, ts],
    )?;
    let found = found.first::<(String, i64)>()?;
    let (event_id, origin_server_ts) =
        found.ok_or_else(|| Error::not_found("there is no event on that side of the time"))?;
    Answer::json(&Closest { event_id, origin_server_ts })
}

/// Any event that is known here.
pub fn event(request: &Request) -> Result {
    admin::only(request)?;
    let event_id = ids::event(request.param("eventId"))?.to_owned();
    let found = storage::query(
        "SELECT room_id, json FROM rooms_events WHERE event_id = $1",
        params![&event_id],
    )?;
    let found = found.first::<(String, String)>()?;
    let (room_id, json) = found.ok_or_else(|| Error::not_found("there is no such event here"))?;
    Answer::json(&Event { event: with_room_id(&Found { event_id, json }, &room_id)? })
}
