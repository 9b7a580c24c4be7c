//! Which state events go with a timeline.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tessera_sdk::params;
use tessera_sdk::storage::{FromRow, RowError, Select, Value, select};

use crate::event::{COLUMNS, EventRow, TRANSACTION};

/// `(type, state key)`
pub(crate) type Key = (String, String);

/// A change of a room's state.
#[derive(Debug, Clone)]
pub(crate) struct Delta {
    pub position: i64,
    pub room_id: String,
    pub kind: String,
    pub state_key: String,
    pub event_id: Option<String>,
    pub prev_event_id: Option<String>,
}

impl FromRow for Delta {
    fn from_row(row: Vec<Value>) -> Result<Self, RowError> {
        let (position, room_id, kind, state_key, event_id, prev_event_id) = <_>::from_row(row)?;
        Ok(Self { position, room_id, kind, state_key, event_id, prev_event_id })
    }
}

/// A change with the state event that it replaced.
#[derive(Debug)]
pub(crate) struct Undone {
    pub delta: Delta,
    pub replaced: Option<EventRow>,
}

impl FromRow for Undone {
    fn from_row(mut row: Vec<Value>) -> Result<Self, RowError> {
        let event = row.split_off(row.len().min(6));
        let delta = Delta::from_row(row)?;
        let known = !matches!(event.first(), None | Some(Value::Null));
        let replaced = known.then(|| EventRow::from_row(event)).transpose()?;
        Ok(Self { delta, replaced })
    }
}

/// Rooms that one statement asks for. A snapshot has at most 1000 statements, and each statement must be small.
const ROOMS_AT_ONCE: usize = 20;

/// How many statements [`select_undone`] makes for so many rooms.
pub(crate) fn undone_selects(rooms: usize) -> usize {
    rooms.div_ceil(ROOMS_AT_ONCE)
}

/// Reads the changes of rooms, each from a position on, oldest first, as [`Undone`].
pub(crate) fn select_undone<'a>(
    user: &str,
    device: Option<&str>,
    rooms: impl IntoIterator<Item = (&'a String, &'a i64)>,
) -> Vec<Select> {
    let wanted: Vec<_> = rooms.into_iter().collect();
    wanted
        .chunks(ROOMS_AT_ONCE)
        .map(|rooms| {
            let mut params = params![user, device.unwrap_or("")];
            let mut conditions = Vec::with_capacity(ROOMS_AT_ONCE);
            // One form for few rooms and one for many: the database remembers forms.
            let size = if rooms.len() == 1 { 1 } else { ROOMS_AT_ONCE };
            let none = (String::new(), 0);
            for n in 0..size {
                let (room, position) = rooms.get(n).copied().unwrap_or((&none.0, &none.1));
                conditions.push(format!(
                    "(d.room_id = ${} AND d.position >= ${})",
                    params.len() + 1,
                    params.len() + 2
                ));
                params.extend(params![room, *position]);
            }
            select(
                &format!(
                    "SELECT d.position, d.room_id, d.type, d.state_key, d.event_id, d.prev_event_id, {COLUMNS} \
                     FROM rooms_v1_state_deltas d LEFT JOIN rooms_v1_events e ON e.event_id = d.prev_event_id \
                     {TRANSACTION} WHERE {} ORDER BY d.position",
                    conditions.join(" OR ")
                ),
                params,
            )
        })
        .collect()
}

/// Rooms whose members as they were are read in one go; each needs a statement of its own.
pub(crate) const MEMBERS_AT_ROOMS: usize = 500;

/// Reads the member events of some users in a room that were in force at a position.
pub(crate) fn select_members_at(
    user: &str,
    device: Option<&str>,
    room: &str,
    members: &BTreeSet<String>,
    end: i64,
) -> Select {
    let members: Vec<String> = members.iter().cloned().collect();
    select(
        &format!(
            "SELECT {COLUMNS} FROM rooms_v1_state_deltas d CROSS JOIN rooms_v1_events e {TRANSACTION} \
             WHERE d.room_id = $3 AND d.type = 'm.room.member' AND d.state_key IN ($4) AND d.position <= $5 \
             AND NOT EXISTS (SELECT 1 FROM rooms_v1_state_deltas n WHERE n.room_id = d.room_id AND n.type = d.type \
             AND n.state_key = d.state_key AND n.position > d.position AND n.position <= $5) \
             AND e.event_id = d.event_id"
        ),
        params![user, device.unwrap_or(""), room, members, end],
    )
}

/// Whole state at a point: the current state with later changes undone, newest first.
pub(crate) fn rewound(current: Vec<EventRow>, undone: &[Undone]) -> BTreeMap<Key, EventRow> {
    let mut state: BTreeMap<Key, EventRow> = current
        .into_iter()
        .map(|row| ((row.kind.clone(), row.state_key.clone().unwrap_or_default()), row))
        .collect();
    for Undone { delta, replaced } in undone.iter().rev() {
        let key = (delta.kind.clone(), delta.state_key.clone());
        match replaced {
            // A member who was left out stays out.
            Some(row) if state.contains_key(&key) || delta.kind != "m.room.member" => {
                state.insert(key, row.clone());
            }
            _ => {
                state.remove(&key);
            }
        }
    }
    state
}

/// Event ids of the state that changed since the token, as it is at `until` (exclusive). Changes from there on count only where the
/// timeline does not show them.
pub(crate) fn changed(
    deltas: &[&Delta],
    until: i64,
    shown: &HashMap<&str, i64>,
) -> BTreeMap<Key, String> {
    let mut state = BTreeMap::new();
    for delta in deltas {
        let Some(event_id) = &delta.event_id else { continue };
        if delta.position < until || !shown.contains_key(event_id.as_str()) {
            state.insert((delta.kind.clone(), delta.state_key.clone()), event_id.clone());
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, kind: &str) -> EventRow {
        EventRow {
            position: 0,
            event_id: id.to_owned(),
            room_id: "!r".to_owned(),
            kind: kind.to_owned(),
            state_key: Some(String::new()),
            sender: "@a:h".to_owned(),
            json: String::new(),
            redacted_by: None,
            txn_id: None,
            erased: None,
            late: None,
            related: None,
            counted: None,
            current: None,
        }
    }

    fn delta(position: i64, kind: &str, event: &str) -> Delta {
        Delta {
            position,
            room_id: "!r".to_owned(),
            kind: kind.to_owned(),
            state_key: String::new(),
            event_id: Some(event.to_owned()),
            prev_event_id: None,
        }
    }

    #[test]
    fn later_changes_are_undone_newest_first() {
        let undone = [
            Undone { delta: delta(5, "topic", "$t2"), replaced: Some(row("$t1", "topic")) },
            Undone { delta: delta(6, "name", "$n1"), replaced: None },
            Undone { delta: delta(7, "topic", "$t3"), replaced: Some(row("$t2", "topic")) },
        ];
        let state = rewound(vec![row("$t3", "topic"), row("$n1", "name")], &undone);
        let ids: Vec<&str> = state.values().map(|row| row.event_id.as_str()).collect();
        assert_eq!(ids, ["$t1"]);
    }

    #[test]
    fn changes_that_the_timeline_shows_are_not_repeated() {
        let deltas = [delta(5, "topic", "$t1"), delta(8, "topic", "$t2"), delta(9, "name", "$n1")];
        let deltas: Vec<&Delta> = deltas.iter().collect();
        let shown = HashMap::from([("$t2", 8)]);
        let state = changed(&deltas, 7, &shown);
        let ids: Vec<&str> = state.values().map(String::as_str).collect();
        assert_eq!(ids, ["$n1", "$t1"]);
    }
}
