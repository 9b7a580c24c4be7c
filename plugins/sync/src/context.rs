//! GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid>

use serde::Serialize;
use serde_json::value::RawValue;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, select};
use tessera_sdk::{params, presentation};

use crate::event::{COLUMNS, EventRow, Extra, STATE, TRANSACTION};
use crate::history::{self, Reader};
use crate::state::{self, Undone, select_undone};
use crate::token::Token;

#[derive(Serialize)]
struct Body {
    start: String,
    end: String,
    event: Box<RawValue>,
    events_before: Vec<Box<RawValue>>,
    events_after: Vec<Box<RawValue>>,
    state: Vec<Box<RawValue>>,
}

/// # Errors
/// `M_FORBIDDEN` for who may not read the room; `M_NOT_FOUND` for an event that is not there or not to be seen.
pub(crate) fn handle(request: &Request) -> Result {
    let limit = i64::try_from(history::limit(request)?).unwrap_or(i64::MAX);
    let filter = history::filter(request)?;
    let reader = Reader::of(request)?;
    let device = reader.device.unwrap_or("");
    let event: Option<EventRow> = storage::query(
        &format!(
            "SELECT {COLUMNS} FROM rooms_v1_events e {TRANSACTION} \
             WHERE e.event_id = $3 AND e.room_id = $4 AND e.stream AND NOT e.rejected"
        ),
        params![reader.user, device, request.param("eventId"), reader.room_id],
    )?
    .first()?;
    let event = event
        .filter(|event| reader.view.sees_event(event))
        .ok_or_else(|| Error::not_found("there is no such event"))?;

    let around = |condition: &str, order: &str| {
        format!(
            "SELECT {COLUMNS} FROM rooms_v1_events e {TRANSACTION} WHERE e.room_id = $3 \
             AND e.position {condition} AND e.stream AND NOT e.rejected ORDER BY e.position {order} LIMIT $5"
        )
    };
    // The limit counts all events around; before gets the larger half.
    let (before, after) = (limit - limit / 2, limit / 2);
    let params = |n: i64| params![reader.user, device, reader.room_id, event.position, n];
    let room = reader.room_id.to_owned();
    let from = event.position + 1;
    let mut selects = vec![
        select(&around("< $4", "DESC"), params(before)),
        select(&around("> $4", "ASC"), params(after)),
        select(&format!("{STATE} WHERE room_id = $1"), params![reader.room_id]),
    ];
    selects.extend(select_undone(reader.user, reader.device, [(&room, &from)]));
    let mut answers = storage::snapshot(&selects)?.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let allowed = |rows: Vec<EventRow>| -> Vec<EventRow> {
        rows.into_iter()
            .filter(|row| reader.reads(row))
            .filter(|row| filter.allows(&row.kind, &row.sender, &row.json))
            .collect()
    };
    let (before, after) = (allowed(next()?.all()?), allowed(next()?.all()?));
    let (current, undone): (Vec<EventRow>, Vec<Undone>) = (next()?.all()?, next()?.all()?);

    let start = before.last().map_or(event.position, |row| row.position) - 1;
    let end = after.last().map_or(event.position, |row| row.position);
    let later = undone.iter().position(|u| u.delta.position > end).unwrap_or(undone.len());
    let state = state::rewound(current, undone.get(later..).unwrap_or(&[]));
    let shown: Vec<EventRow> =
        [event].into_iter().chain(before.iter().cloned()).chain(after).collect();
    let mut written = reader.write(&shown, false)?.chunk;
    let events_after = written.split_off(1 + before.len());
    let events_before = written.split_off(1);
    let event = written.pop().ok_or_else(|| Error::internal("the event got lost"))?;
    let writer = history::writer();
    let speaks = |row: &EventRow| shown.iter().any(|e| Some(&e.sender) == row.state_key.as_ref());
    let mut state = state
        .values()
        .filter(|row| !filter.lazy_load_members || row.kind != "m.room.member" || speaks(row))
        .map(|row| writer.write(row, Extra::default()))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    presentation::add_fields(state.iter_mut().map(|event| (None, event)), reader.user);
    Answer::json(&Body {
        start: Token(start).to_string(),
        end: Token(end).to_string(),
        event,
        events_before,
        events_after,
        state,
    })
}
