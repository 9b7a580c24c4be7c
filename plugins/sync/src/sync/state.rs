//! Which state events go with a timeline.

use std::collections::{BTreeMap, HashMap};

use super::fill::Undone;
use super::read::Delta;
use crate::event::EventRow;

/// `(type, state key)`
pub(super) type Key = (String, String);

/// Whole state at a point: the current state with later changes undone, newest first.
pub(super) fn rewound(current: Vec<EventRow>, undone: &[Undone]) -> BTreeMap<Key, EventRow> {
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
pub(super) fn changed(
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
