//! State that a user may read, now or as it was when they left.

use std::collections::HashMap;

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, IntoValue, Rows, select};

use super::client_event::Found;
use crate::access::Access;
use crate::store::state_at;

/// A state is read in this many lists of ids at most at a time.
const CHUNK: usize = 1_000;

fn found(rows: Rows) -> Result<Vec<Found>, Error> {
    let rows = rows.all::<(String, String)>()?;
    Ok(rows.into_iter().map(|(event_id, json)| Found { event_id, json }).collect())
}

/// The whole state, or that of one type.
pub(in crate::api) fn all(
    room_id: &str,
    access: Access,
    kind: Option<&str>,
) -> Result<Vec<Found>, Error> {
    match (access, kind) {
        (Access::Now, None) => found(storage::query(
            "SELECT s.event_id, e.json FROM rooms_current_state s JOIN rooms_events e ON e.position = s.position
             WHERE s.room_id = $1 ORDER BY s.position",
            params![room_id],
        )?),
        (Access::Now, Some(kind)) => found(storage::query(
            "SELECT s.event_id, e.json FROM rooms_current_state s JOIN rooms_events e ON e.position = s.position
             WHERE s.room_id = $1 AND s.type = $2 ORDER BY s.position",
            params![room_id, kind],
        )?),
        (Access::Until(left), kind) => {
            let Some(group) = left.group else {
                return at(room_id, left.position, kind, None);
            };
            let kinds: Vec<String> = kind.map(str::to_owned).into_iter().collect();
            let entries = state_at::resolve(group, &kinds)?;
            by_id(entries.into_iter().map(|(_, _, event_id)| event_id).collect())
        }
    }
}

/// The state that was in force at a position, or that of one type, or one piece of it: that of now without what changed since.
pub(in crate::api) fn at(
    room_id: &str,
    position: i64,
    kind: Option<&str>,
    key: Option<&str>,
) -> Result<Vec<Found>, Error> {
    let only = match (kind, key) {
        (Some(_), Some(_)) => " AND type = $2 AND state_key = $3",
        (Some(_), None) => " AND type = $2",
        (None, _) => "",
    };
    let mut values = params![room_id];
    values.extend([kind, kind.and(key)].into_iter().flatten().map(IntoValue::into_value));
    let mut since = values.clone();
    since.push(position.into_value());
    let after = since.len();
    let mut answers = storage::snapshot(&[
        select(
            &format!(
                "SELECT type, state_key, event_id FROM rooms_current_state WHERE room_id = $1{only}"
            ),
            values,
        ),
        select(
            &format!(
                "SELECT d.type AS type, d.state_key AS state_key, d.prev_event_id AS prev_event_id FROM (
                   SELECT type, state_key, prev_event_id,
                     row_number() OVER (PARTITION BY type, state_key ORDER BY position) AS n
                   FROM rooms_state_deltas WHERE room_id = $1 AND position > ${after}{only}) d
                 WHERE d.n = 1"
            ),
            since,
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let now = next()?.all::<(String, String, String)>()?.into_iter();
    let mut state: HashMap<(String, String), String> =
        now.map(|(kind, key, event_id)| ((kind, key), event_id)).collect();
    for (kind, key, before) in next()?.all::<(String, String, Option<String>)>()? {
        match before {
            Some(event_id) => state.insert((kind, key), event_id),
            None => state.remove(&(kind, key)),
        };
    }
    by_id(state.into_values().collect())
}

/// One piece of state.
pub(in crate::api) fn one(
    room_id: &str,
    access: Access,
    kind: &str,
    key: &str,
) -> Result<Option<Found>, Error> {
    match access {
        Access::Now => Ok(found(storage::query(
            "SELECT s.event_id, e.json FROM rooms_current_state s JOIN rooms_events e ON e.position = s.position
             WHERE s.room_id = $1 AND s.type = $2 AND s.state_key = $3",
            params![room_id, kind, key],
        )?)?
        .pop()),
        Access::Until(left) => {
            let Some(group) = left.group else {
                return Ok(at(room_id, left.position, Some(kind), Some(key))?.pop());
            };
            let entries = state_at::resolve(group, &[kind.to_owned()])?;
            let entry = entries.into_iter().find(|(_, found, _)| found == key);
            Ok(by_id(entry.map(|(_, _, event_id)| event_id).into_iter().collect())?.pop())
        }
    }
}

fn by_id(ids: Vec<String>) -> Result<Vec<Found>, Error> {
    let mut events = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(CHUNK) {
        events.extend(found(storage::query(
            "SELECT event_id, json FROM rooms_events WHERE event_id IN ($1) ORDER BY position",
            params![chunk],
        )?)?);
    }
    Ok(events)
}
