//! State that a user may read, now or as it was when they left.

use std::collections::HashMap;

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Rows, select};

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
        (Access::Until(group), kind) => {
            let kinds: Vec<String> = kind.map(str::to_owned).into_iter().collect();
            let entries = state_at::resolve(group, &kinds)?;
            by_id(entries.into_iter().map(|(_, _, event_id)| event_id).collect())
        }
    }
}

/// The member events that were in force at a position: those of now without what changed since.
pub(in crate::api) fn members_at(room_id: &str, position: i64) -> Result<Vec<Found>, Error> {
    let mut answers = storage::snapshot(&[
        select(
            "SELECT state_key, event_id FROM rooms_current_state WHERE room_id = $1 AND type = 'm.room.member'",
            params![room_id],
        ),
        select(
            "SELECT d.state_key AS state_key, d.prev_event_id AS prev_event_id FROM (
               SELECT state_key, prev_event_id, row_number() OVER (PARTITION BY state_key ORDER BY position) AS n
               FROM rooms_state_deltas WHERE room_id = $1 AND type = 'm.room.member' AND position > $2) d
             WHERE d.n = 1",
            params![room_id, position],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let mut members: HashMap<String, String> = next()?.all()?.into_iter().collect();
    for (user, before) in next()?.all::<(String, Option<String>)>()? {
        match before {
            Some(event_id) => members.insert(user, event_id),
            None => members.remove(&user),
        };
    }
    by_id(members.into_values().collect())
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
        Access::Until(group) => {
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
