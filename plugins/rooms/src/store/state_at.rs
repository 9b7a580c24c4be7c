//! The state at an event, out of state groups.

use std::collections::{HashMap, HashSet};

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Select, select};

/// One entry: type, state key, event id.
pub type Entry = (String, String, String);

/// The SELECTs that [`resolve`] takes. `kinds` narrows to these types; empty means all.
pub fn selects(group: i64, kinds: &[String]) -> Vec<Select> {
    // A chain of differences only ever rests on groups of the same base with smaller numbers.
    let same_base = "SELECT base FROM rooms_state_groups WHERE group_id = $1";
    let mut entries = format!(
        "SELECT e.group_id, e.type, e.state_key, e.event_id FROM rooms_state_groups g
         JOIN rooms_state_entries e ON e.group_id = g.group_id
         WHERE g.base = ({same_base}) AND g.group_id <= $1"
    );
    let mut values = params![group];
    if !kinds.is_empty() {
        entries.push_str(" AND e.type IN ($2)");
        values.extend(params![kinds]);
    }
    vec![
        select(
            &format!(
                "SELECT group_id, prev_group FROM rooms_state_groups
                 WHERE base = ({same_base}) AND group_id <= $1"
            ),
            params![group],
        ),
        select(&entries, values),
    ]
}

/// The state of a group: walks its chain down and lets the upper groups win.
///
/// # Errors
/// Storage failed.
pub fn resolve(group: i64, kinds: &[String]) -> Result<Vec<Entry>, Error> {
    let mut answers = storage::snapshot(&selects(group, kinds))?.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let below: HashMap<i64, Option<i64>> =
        next()?.all::<(i64, Option<i64>)>()?.into_iter().collect();
    let mut chain = HashSet::new();
    let mut at = Some(group);
    while let Some(id) = at {
        if !chain.insert(id) {
            return Err(Error::internal("a chain of state groups goes in a circle"));
        }
        at = below.get(&id).copied().flatten();
    }
    let mut entries = next()?.all::<(i64, String, String, String)>()?;
    entries.retain(|entry| chain.contains(&entry.0));
    entries.sort_by_key(|entry| entry.0);
    let mut state = HashMap::new();
    for (_, kind, key, event_id) in entries {
        state.insert((kind, key), event_id);
    }
    let mut list: Vec<Entry> =
        state.into_iter().map(|((kind, key), event_id)| (kind, key, event_id)).collect();
    list.sort();
    Ok(list)
}
