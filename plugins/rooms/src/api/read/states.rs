//! State that a user may read, now or as it was when they left.

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Rows};

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
pub(super) fn all(room_id: &str, access: Access, kind: Option<&str>) -> Result<Vec<Found>, Error> {
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

/// One piece of state.
pub(super) fn one(
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
