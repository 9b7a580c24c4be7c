//! GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>

use serde::Serialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage;

use crate::history::{Direction, Reader};

/// Events looked at: past so many that the reader may not see, none is found.
const LOOKS: i64 = 500;

#[derive(Serialize)]
struct Body {
    event_id: String,
    origin_server_ts: i64,
}

/// The event nearest to a time, forwards or backwards.
///
/// # Errors
/// `M_MISSING_PARAM`, `M_INVALID_PARAM` for malformed parameters; `M_FORBIDDEN` for who may not read the room;
/// `M_NOT_FOUND` where there is no event on that side.
pub(crate) fn handle(request: &Request) -> Result {
    let ts: i64 = request.query_as("ts")?.ok_or_else(|| Error::missing_param("ts is missing"))?;
    let direction =
        Direction::of(request)?.ok_or_else(|| Error::missing_param("dir is missing"))?;
    let reader = Reader::of(request)?;
    let (side, order) = match direction {
        Direction::Forward => (">=", "ASC"),
        Direction::Backward => ("<=", "DESC"),
    };
    let rows: Vec<(i64, String, i64)> = storage::query(
        &format!(
            "SELECT position, event_id, origin_ts FROM rooms_v1_events WHERE room_id = $1 AND origin_ts {side} $2 \
             AND position <= $3 AND stream AND NOT rejected ORDER BY origin_ts {order}, position {order} LIMIT $4"
        ),
        params![reader.room_id, ts, reader.last_position(), LOOKS],
    )?
    .all()?;
    let found = rows.into_iter().find(|(position, ..)| reader.view.sees(*position));
    let (_, event_id, origin_server_ts) =
        found.ok_or_else(|| Error::not_found("there is no event on that side of the time"))?;
    Answer::json(&Body { event_id, origin_server_ts })
}
