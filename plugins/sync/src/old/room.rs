//! GET /_matrix/client/v3/rooms/{roomId}/initialSync
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync>

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, select};
use tessera_sdk::{clock, params, presentation};

use crate::event::{COLUMNS, EventRow, Extra, STATE, TRANSACTION};
use crate::history::{self, Reader};
use crate::near::Presence;
use crate::state::{self, Undone, select_undone};
use crate::sync::ephemeral;
use crate::token::Token;

/// Members whose presence is told.
const MAX_PRESENCE: i64 = 500;

/// One room as it is, or as it was when the user left it; of a world readable one anybody may ask.
///
/// # Errors
/// `M_FORBIDDEN` for who may not read the room; `M_INVALID_PARAM` for a malformed limit.
pub(crate) fn handle(request: &Request) -> Result {
    let limit = history::limit(request)?;
    let reader = Reader::of(request)?;
    let device = reader.device.unwrap_or("");
    let room = reader.room_id.to_owned();
    let last = reader.last_position();
    // Whoever has left sees the state when they left, a stranger to a world readable room the state now.
    let from = reader.view.left_at().filter(|_| last != i64::MAX).map_or(i64::MAX, |left| left + 1);
    let size = i64::try_from(limit).unwrap_or(i64::MAX);
    let there = i64::from(reader.is_in());
    let mut selects = vec![
        select(
            &format!(
                "SELECT {COLUMNS} FROM rooms_v1_events e {TRANSACTION} WHERE e.room_id = $3 AND e.position <= $4 \
                 AND e.stream AND NOT e.rejected ORDER BY e.position DESC LIMIT $5"
            ),
            params![reader.user, device, &room, last, size],
        ),
        select(&format!("{STATE} WHERE room_id = $1"), params![&room]),
        select(
            "SELECT m.user_id, COALESCE(p.presence, 'offline'), p.status_msg, COALESCE(p.last_active_ms, 0), \
             CASE WHEN p.currently_active THEN 1 ELSE 0 END, 0 FROM rooms_v1_memberships m \
             LEFT JOIN presence_v1_presence p ON p.user_id = m.user_id \
             WHERE m.room_id = $1 AND m.membership = 'join' AND $2 = 1 LIMIT $3",
            params![&room, there, MAX_PRESENCE],
        ),
        select(
            "SELECT room_id, user_id, type, thread_id, event_id, ts, position FROM presence_v1_receipts \
             WHERE room_id = $1 AND $2 = 1",
            params![&room, there],
        ),
        select(
            "SELECT type, content FROM accounts_v1_account_data WHERE user_id = $1 AND room_id = $2",
            params![reader.user, &room],
        ),
        select("SELECT room_id FROM rooms_v1_listed WHERE room_id = $1", params![&room]),
    ];
    selects.extend(select_undone(reader.user, reader.device, [(&room, &from)]));
    let moment = storage::snapshot(&selects)?;
    let horizon = i64::try_from(moment.horizon).unwrap_or(i64::MAX);
    let mut answers = moment.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let mut rows: Vec<EventRow> = next()?.all()?;
    let current: Vec<EventRow> = next()?.all()?;
    let present: Vec<(String, String, Option<String>, i64, i64, i64)> = next()?.all()?;
    let receipts = next()?.all()?;
    let account_data: Vec<(String, String)> = next()?.all()?;
    let listed = !next()?.rows.is_empty();
    let undone: Vec<Undone> = next()?.all()?;

    rows.reverse();
    let start = rows.first().map_or(last.min(horizon), |row| row.position - 1);
    rows.retain(|row| reader.reads(row));
    let chunk = super::events(&reader.write(&rows, false)?.chunk)?;
    let writer = history::writer();
    let mut state = state::rewound(current, &undone)
        .values()
        .map(|row| writer.write(row, Extra::default()))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    presentation::add_fields(state.iter_mut().map(|event| (None, event)), reader.user);
    let now = i64::try_from(clock::now_ms()).unwrap_or(i64::MAX);
    let presence = present
        .into_iter()
        .map(|(user, presence, status, last_active, active, position)| {
            let row: Presence = (user, presence, status, last_active, active > 0, position);
            super::presence(row, now)
        })
        .collect::<std::result::Result<Vec<Value>, Error>>()?;
    let none = BTreeSet::new();
    let receipts: Vec<Value> = ephemeral::receipts(receipts, reader.user, &none)?
        .values()
        .map(|raw| super::of_room(raw, &room))
        .collect::<std::result::Result<_, _>>()?;
    let account_data = account_data
        .iter()
        .map(|(kind, content)| ephemeral::account_data(kind, content))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let mut body = json!({
        "room_id": room,
        "messages": {
            "chunk": chunk,
            "start": Token(start).to_string(),
            "end": Token(last.min(horizon)).to_string(),
        },
        "state": super::events(&state)?,
        "visibility": if listed { "public" } else { "private" },
        "presence": presence,
        "receipts": receipts,
        "account_data": account_data,
    });
    if let (Some((_, membership)), Some(map)) =
        (reader.view.memberships.last(), body.as_object_mut())
    {
        map.insert("membership".to_owned(), Value::from(membership.as_str()));
    }
    Answer::json(&body)
}
