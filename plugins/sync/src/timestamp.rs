//! GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>

use serde::Serialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage;

use crate::event::{EventRow, LATE};
use crate::history::{Direction, Reader};
use crate::visibility::Late;

/// Whoever came and went more often finds events of the newest so many times only.
const MAX_RANGES: usize = 100;

/// Events looked at: all but late ones are known to be seen.
const LOOKS: i64 = 20;

/// `event_id, origin_ts, position` and [`LATE`].
type Candidate = (String, i64, i64, Option<String>);

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
            format!("(e.position >= ${} AND e.position <= ${})", params.len() - 1, params.len())
        })
        .collect();
    if seen.is_empty() {
        return Err(Error::not_found("there is no event on that side of the time"));
    }
    let seen = seen.join(" OR ");
    params.extend(params![reader.user, LOOKS]);
    let (user, looks) = (params.len() - 1, params.len());
    // Events that came late go by their own past: of the first few one is seen.
    let found: Vec<Candidate> = storage::query(
        &format!(
            "SELECT e.event_id, e.origin_ts, e.position, {} FROM rooms_v1_events e WHERE e.room_id = $1 \
             AND e.origin_ts {side} $2 AND e.position <= $3 AND ({seen}) AND e.stream AND NOT e.rejected \
             ORDER BY e.origin_ts {order}, e.position {order} LIMIT ${looks}",
            LATE.replace("$1", &format!("${user}"))
        ),
        params,
    )?
    .all()?;
    let sees = |(_, _, position, late): &Candidate| {
        let late = late.as_deref().and_then(Late::read);
        let event = EventRow { position: *position, late, ..EventRow::default() };
        reader.view.sees_event(&event)
    };
    let found = found.into_iter().find(sees);
    let (event_id, origin_server_ts, ..) =
        found.ok_or_else(|| Error::not_found("there is no event on that side of the time"))?;
    Answer::json(&Body { event_id, origin_server_ts })
}
