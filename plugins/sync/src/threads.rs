//! GET /_matrix/client/v1/rooms/{roomId}/threads
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads>

use serde::Serialize;
use serde_json::value::RawValue;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, FromRow, RowError, Value};

use crate::event::{COLUMNS, EventRow, TRANSACTION};
use crate::history::{self, Reader};
use crate::token::Token;

#[derive(Serialize)]
struct Body {
    chunk: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

/// The root of a thread, and the position of its latest event.
struct Root {
    latest: i64,
    event: EventRow,
}

impl FromRow for Root {
    fn from_row(mut row: Vec<Value>) -> std::result::Result<Self, RowError> {
        let event = row.split_off(row.len().min(1));
        let (latest,) = <_>::from_row(row)?;
        Ok(Self { latest, event: EventRow::from_row(event)? })
    }
}

/// Threads of a room, the one with the latest event first.
///
/// # Errors
/// `M_FORBIDDEN` for who may not read the room; `M_INVALID_PARAM` for malformed parameters.
pub(crate) fn handle(request: &Request) -> Result {
    let limit = history::limit(request)?.max(1);
    let mine = match request.query("include") {
        None | Some("all") => false,
        Some("participated") => true,
        Some(_) => return Err(Error::invalid_param("include must be all or participated")),
    };
    let from = request.query("from").filter(|token| !token.is_empty());
    let from = from.map(str::parse::<Token>).transpose()?;
    let reader = Reader::of(request)?;
    let last = reader.last_position();

    let sql = format!(
        "SELECT t.latest, {COLUMNS} FROM (SELECT r.relates_to AS root, MAX(r.position) AS latest, \
         SUM(CASE WHEN r.sender = $1 THEN 1 ELSE 0 END) AS mine FROM rooms_v1_relations r \
         JOIN rooms_v1_events c ON c.event_id = r.event_id WHERE r.room_id = $3 AND r.rel_type = 'm.thread' \
         AND r.position <= $4 AND c.redacted_by IS NULL AND c.stream AND NOT c.rejected GROUP BY r.relates_to) t \
         JOIN rooms_v1_events e ON e.event_id = t.root AND e.room_id = $3 {TRANSACTION} \
         WHERE t.latest <= $5 AND ($6 = 0 OR t.mine > 0 OR e.sender = $1) AND e.stream AND NOT e.rejected \
         ORDER BY t.latest DESC LIMIT $7"
    );
    let size = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let device = reader.device.unwrap_or("");
    let before = from.map_or(i64::MAX, |token| token.0);
    let params = params![reader.user, device, reader.room_id, last, before, i64::from(mine), size];
    let mut roots: Vec<Root> = storage::query(&sql, params)?.all()?;
    let more = roots.len() > limit;
    roots.truncate(limit);
    let next = roots.last().filter(|_| more).map(|root| Token(root.latest - 1).to_string());
    let events: Vec<EventRow> =
        roots.into_iter().map(|root| root.event).filter(|event| reader.reads(event)).collect();
    let chunk = reader.write(&events, false)?.chunk;
    Answer::json(&Body { chunk, next_batch: next })
}
