//! The state at an event, out of state groups.

use std::collections::{HashMap, HashSet};

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Rows, Select, select};

/// One entry: type, state key, event id.
pub type Entry = (String, String, String);

/// How a group rests on its full one.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The full group.
    pub base: i64,
    /// The group itself first, the full one last.
    pub links: Vec<i64>,
}

/// The SELECT that [`chain_of`] takes.
pub fn chain_select(group: i64) -> Select {
    select(
        "SELECT group_id, prev_group FROM rooms_state_groups
         WHERE base = (SELECT base FROM rooms_state_groups WHERE group_id = $1) AND group_id <= $1",
        params![group],
    )
}

/// Reads the chain of a group.
///
/// # Errors
/// A fault in the table.
pub fn chain_of(group: i64, rows: Rows) -> Result<Chain, Error> {
    walk(group, &rows.all::<(i64, Option<i64>)>()?.into_iter().collect())
}

/// The chains of several groups.
///
/// # Errors
/// Storage failed.
pub fn chains(groups: &[i64]) -> Result<HashMap<i64, Chain>, Error> {
    let rows = storage::query(
        "SELECT group_id, prev_group FROM rooms_state_groups
         WHERE base IN (SELECT base FROM rooms_state_groups WHERE group_id IN ($1))",
        params![groups.to_vec()],
    )?;
    let below: HashMap<i64, Option<i64>> = rows.all::<(i64, Option<i64>)>()?.into_iter().collect();
    groups.iter().map(|group| Ok((*group, walk(*group, &below)?))).collect()
}

fn walk(group: i64, below: &HashMap<i64, Option<i64>>) -> Result<Chain, Error> {
    let mut links = Vec::new();
    let mut seen = HashSet::new();
    let mut at = Some(group);
    while let Some(id) = at {
        if !seen.insert(id) {
            return Err(Error::internal("a chain of state groups goes in a circle"));
        }
        links.push(id);
        at = below.get(&id).copied().flatten();
    }
    Ok(Chain { base: links.last().copied().unwrap_or(group), links })
}

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
    vec![chain_select(group), select(&entries, values)]
}

/// The state of a group: walks its chain down and lets the upper groups win.
///
/// # Errors
/// Storage failed.
pub fn resolve(group: i64, kinds: &[String]) -> Result<Vec<Entry>, Error> {
    let mut answers = storage::snapshot(&selects(group, kinds))?.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let chain = chain_of(group, next()?)?;
    let mut entries = next()?.all::<(i64, String, String, String)>()?;
    entries.retain(|entry| chain.links.contains(&entry.0));
    entries.sort_by_key(|entry| entry.0);
    let mut state = HashMap::new();
    for (_, kind, key, event_id) in entries {
        state.insert((kind, key), event_id);
    }
    let mut list: Vec<Entry> = state
        .into_iter()
        // An entry without an event: there was one in a group below, and a resolution took it away.
        .filter(|(_, event_id)| !event_id.is_empty())
        .map(|((kind, key), event_id)| (kind, key, event_id))
        .collect();
    list.sort();
    Ok(list)
}
