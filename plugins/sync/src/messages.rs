//! GET /_matrix/client/v3/rooms/{roomId}/messages
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>

use serde::Serialize;
use serde_json::value::RawValue;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Value};

use crate::event::{COLUMNS, EventRow, TRANSACTION};
use crate::filter::EventFilter;
use crate::history::{self, Direction, Reader, Written};
use crate::token::Token;

/// Rounds of reading for one answer: a filter that lets next to nothing pass gets a shorter answer and a token to go on.
const MAX_ROUNDS: usize = 5;

#[derive(Serialize)]
struct Body {
    start: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    chunk: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    state: Vec<Box<RawValue>>,
}

/// # Errors
/// `M_FORBIDDEN` for who may not read the room; `M_MISSING_PARAM`, `M_INVALID_PARAM` for malformed parameters.
pub(crate) fn handle(request: &Request) -> Result {
    let direction =
        Direction::of(request)?.ok_or_else(|| Error::missing_param("dir is missing"))?;
    let limit = history::limit(request)?;
    let filter = history::filter(request)?;
    let token = |name| request.query(name).filter(|t| !t.is_empty()).map(str::parse::<Token>);
    let (from, to) = (token("from").transpose()?, token("to").transpose()?);
    let reader = Reader::of(request)?;

    let limit = filter.limit.map_or(limit, |_| filter.limit().min(limit));
    let last = reader.last_position();
    let start = match direction {
        Direction::Backward => from.map_or(last, |token| token.0).min(last),
        Direction::Forward => from.map_or(0, |token| token.0),
    };
    let (events, end) = read(&reader, direction, start, to.map(|token| token.0), limit, &filter)?;
    let Written { chunk, state } = reader.write(&events, filter.lazy_load_members)?;
    // Where the client named no start: the newest event is what the answer began with.
    let start = match (from, events.first()) {
        (Some(token), _) => token.0,
        (None, Some(event)) if direction == Direction::Backward => event.position,
        (None, _) => 0,
    };
    Answer::json(&Body {
        start: Token(start).to_string(),
        end: end.map(|end| Token(end).to_string()),
        chunk,
        state,
    })
}

/// A condition for what must relate to an event, with its parameters from `$7` on.
fn related(filter: &EventFilter) -> (String, Vec<Value>) {
    let wanted =
        [("rel_type", &filter.related_by_rel_types), ("sender", &filter.related_by_senders)];
    let (mut condition, mut lists) = (String::new(), Vec::new());
    for (column, list) in wanted {
        if let Some(list) = list {
            condition.push_str(&format!(" AND q.{column} IN (${})", 7 + lists.len()));
            lists.extend(params![list.as_slice()]);
        }
    }
    if lists.is_empty() {
        return (condition, lists);
    }
    let exists = "EXISTS (SELECT 1 FROM rooms_v1_relations q WHERE q.relates_to = e.event_id AND q.room_id = e.room_id";
    (format!(" AND {exists}{condition})"), lists)
}

/// Events that the reader sees and the filter lets pass, and where to go on, if there is more.
fn read(
    reader: &Reader<'_>,
    direction: Direction,
    start: i64,
    to: Option<i64>,
    limit: usize,
    filter: &EventFilter,
) -> std::result::Result<(Vec<EventRow>, Option<i64>), Error> {
    let last = reader.last_position();
    let (range, order, stop) = match direction {
        Direction::Backward => ("e.position <= $4 AND e.position > $5", "DESC", to.unwrap_or(0)),
        Direction::Forward => {
            ("e.position > $4 AND e.position <= $5", "ASC", to.unwrap_or(last).min(last))
        }
    };
    let (related, lists) = related(filter);
    let sql = format!(
        "SELECT {COLUMNS} FROM rooms_v1_events e {TRANSACTION} WHERE e.room_id = $3 AND {range} \
         AND e.stream AND NOT e.rejected{related} ORDER BY e.position {order} LIMIT $6"
    );
    let batch = limit.saturating_add(1);
    let (mut at, mut kept) = (start, Vec::new());
    for _ in 0..MAX_ROUNDS {
        let size = i64::try_from(batch).unwrap_or(i64::MAX);
        let device = reader.device.unwrap_or("");
        let mut params = params![reader.user, device, reader.room_id, at, stop, size];
        params.extend(lists.iter().cloned());
        let rows: Vec<EventRow> = storage::query(&sql, params)?.all()?;
        let exhausted = rows.len() < batch;
        for row in rows {
            if kept.len() == limit {
                return Ok((kept, Some(at)));
            }
            at = match direction {
                Direction::Backward => row.position - 1,
                Direction::Forward => row.position,
            };
            if reader.reads(&row)
                && filter.allows_room(&row.room_id)
                && filter.allows(&row.kind, &row.sender, &row.json)
            {
                kept.push(row);
            }
        }
        if exhausted {
            // As other servers do: only a page without events is the last one. Clients ask once more.
            let end = (!kept.is_empty()).then_some(at);
            return Ok((kept, end));
        }
    }
    Ok((kept, Some(at)))
}
