//! GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>

use serde::Serialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage;

use crate::history::{Direction, Reader};

/// Whoever came and went more often finds events of the newest so many times only.
const MAX_RANGES: usize = 100;

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
    let mut params = params![reader.room_id, ts, reader.last_position()];
    let ranges = reader.view.ranges();
    let seen: Vec<String> = ranges
        .iter()
        .rev()
        .take(MAX_RANGES)
        .map(|(from, to)| {
            params.extend(params![*from, *to]);
            format!("(position >= ${} AND position <= ${})", params.len() - 1, params.len())
        })
        .collect();
    if seen.is_empty() {
        return Err(Error::not_found("there is no event on that side of the time"));
    }
    let seen = seen.join(" OR ");
    let found: Option<(String, i64)> = storage::query(
        &format!(
            "SELECT event_id, origin_ts FROM rooms_v1_events WHERE room_id = $1 AND origin_ts {side} $2 \
             AND position <= $3 AND ({seen}) AND stream AND NOT rejected \
             ORDER BY origin_ts {order}, position {order} LIMIT 1"
        ),
        params,
    )?
    .first()?;
    let (event_id, origin_server_ts) =
        found.ok_or_else(|| Error::not_found("there is no event on that side of the time"))?;
    Answer::json(&Body { event_id, origin_server_ts })
}
