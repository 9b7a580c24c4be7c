//! GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}[/{relType}[/{eventType}]]
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid>

use serde::Serialize;
use serde_json::value::RawValue;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage;

use crate::event::{COLUMNS, EventRow, TRANSACTION};
use crate::history::{self, Direction, Reader};
use crate::token::Token;

/// How deep `recurse` looks; the specification asks for 3 at least.
const RECURSION_DEPTH: i64 = 3;

#[derive(Serialize)]
struct Body {
    chunk: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recursion_depth: Option<i64>,
}

/// # Errors
/// `M_FORBIDDEN` for who may not read the room; `M_NOT_FOUND` for an event that is not there or not to be seen.
pub(crate) fn handle(request: &Request) -> Result {
    let direction = Direction::of(request)?.unwrap_or(Direction::Backward);
    let limit = history::limit(request)?;
    let token = |name| request.query(name).filter(|t| !t.is_empty()).map(str::parse::<Token>);
    let (from, to) = (token("from").transpose()?, token("to").transpose()?);
    let recurse: bool = request.query_as("recurse")?.unwrap_or(false);
    let reader = Reader::of(request)?;
    let device = reader.device.unwrap_or("");

    let parent: Option<EventRow> = storage::query(
        &format!(
            "SELECT {COLUMNS} FROM rooms_v1_events e {TRANSACTION} \
             WHERE e.event_id = $3 AND e.room_id = $4 AND e.stream AND NOT e.rejected"
        ),
        params![reader.user, device, request.param("eventId"), reader.room_id],
    )?
    .first()?;
    if !parent.is_some_and(|parent| reader.view.sees_event(&parent)) {
        return Err(Error::not_found("there is no such event"));
    }

    let (range, order, from, to) = match direction {
        Direction::Backward => (
            "r.position <= $6 AND r.position > $7",
            "DESC",
            from.map_or(i64::MAX, |t| t.0),
            to.map_or(0, |t| t.0),
        ),
        Direction::Forward => (
            "r.position > $6 AND r.position <= $7",
            "ASC",
            from.map_or(0, |t| t.0),
            to.map_or(i64::MAX, |t| t.0),
        ),
    };
    let depth = if recurse { RECURSION_DEPTH } else { 1 };
    let sql = format!(
        "WITH RECURSIVE found (event_id, depth) AS ( \
         SELECT r.event_id, 1 FROM rooms_v1_relations r WHERE r.relates_to = $3 AND r.room_id = $10 \
         UNION SELECT r.event_id, f.depth + 1 FROM rooms_v1_relations r JOIN found f ON r.relates_to = f.event_id \
         WHERE f.depth < $9 AND r.room_id = $10) \
         SELECT {COLUMNS} FROM (SELECT DISTINCT event_id FROM found) f CROSS JOIN rooms_v1_relations r \
         CROSS JOIN rooms_v1_events e {TRANSACTION} \
         WHERE r.event_id = f.event_id AND e.event_id = f.event_id AND e.redacted_by IS NULL AND NOT e.rejected AND e.stream \
         AND ($4 = '' OR r.rel_type = $4) AND ($5 = '' OR e.type = $5) AND {range} \
         ORDER BY e.position {order} LIMIT $8"
    );
    let size = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let event = request.param("eventId");
    let (rel_type, kind) = (request.param("relType"), request.param("eventType"));
    let room = reader.room_id;
    let params = params![reader.user, device, event, rel_type, kind, from, to, size, depth, room];
    let mut events: Vec<EventRow> = storage::query(&sql, params)?.all()?;
    let more = events.len() > limit;
    events.truncate(limit);
    let next_batch = events.last().filter(|_| more).map(|last| match direction {
        Direction::Backward => Token(last.position - 1).to_string(),
        Direction::Forward => Token(last.position).to_string(),
    });
    events.retain(|event| reader.reads(event));
    let chunk = reader.write(&events, false)?.chunk;
    Answer::json(&Body {
        chunk,
        next_batch,
        prev_batch: request.query("from").map(str::to_owned),
        recursion_depth: recurse.then_some(RECURSION_DEPTH),
    })
}
