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

/// A group and those that it rests on, as `chain (group_id, prev_group)`: never more than a few dozen, however many branches
/// rest on the same full one.
macro_rules! with_chain {
    ($rest:literal) => {
        concat!(
            "WITH RECURSIVE chain(group_id, prev_group) AS (
               SELECT g.group_id, g.prev_group FROM rooms_state_groups g WHERE g.group_id IN ($1)
               UNION SELECT g.group_id, g.prev_group FROM rooms_state_groups g JOIN chain c ON g.group_id = c.prev_group) ",
            $rest
        )
    };
}
pub(super) use with_chain;

/// The SELECT that [`chain_of`] takes.
pub fn chain_select(group: i64) -> Select {
    select(with_chain!("SELECT group_id, prev_group FROM chain"), params![vec![group]])
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
        with_chain!("SELECT group_id, prev_group FROM chain"),
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
    let mut entries = with_chain!(
        "SELECT e.group_id, e.type, e.state_key, e.event_id FROM chain c
         JOIN rooms_state_entries e ON e.group_id = c.group_id"
    )
    .to_owned();
    let mut values = params![vec![group]];
    if !kinds.is_empty() {
        entries.push_str(" WHERE e.type IN ($2)");
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
