//! States of several groups side by side: what they differ in, and what they are resolved to.
//!
//! Groups of one base differ in the entries above it only, so a fork in a large room costs what it changed, not what the
//! room holds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ruma::events::StateEventType;
use ruma::state_res::Event as _;
use ruma::{EventId, OwnedEventId};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Rows, select};

use super::auth;
use super::state_at::{Chain, chains, with_chain};
use crate::core::resolve::{self, Ids, Known, Map};
use crate::core::{StoredEvent, Version, reads};

/// Type and state key.
pub type Key = (String, String);
/// What a difference does to one entry: the event in force from now on, none if there is none any more.
pub type Change = (Key, Option<String>);

/// A state: a stored group and what is changed in it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The group.
    pub group: i64,
    /// Changes to it, one for each key.
    pub changes: Vec<Change>,
}

impl Plan {
    /// A group as it is stored.
    pub fn stored(group: i64) -> Self {
        Self { group, changes: Vec::new() }
    }

    /// The same with a further event in force.
    #[must_use]
    pub fn with(mut self, key: Key, event_id: &str) -> Self {
        self.changes.retain(|(known, _)| *known != key);
        self.changes.push((key, Some(event_id.to_owned())));
        self
    }
}

/// Several states, in the keys in which they may differ.
#[derive(Debug)]
pub struct Side {
    /// The entries of each state under those keys.
    pub maps: Vec<HashMap<Key, String>>,
    chains: HashMap<i64, Chain>,
    /// Keys that were looked at: the maps hold what there is under them.
    seen: BTreeSet<Key>,
    /// What `base` has under those keys.
    below: HashMap<Key, String>,
    /// One of the full groups below; under other keys all of them hold the same.
    base: Option<i64>,
}

type Entry = (i64, String, String, String);

type Full = HashMap<i64, HashMap<Key, String>>;

/// What full groups hold under these keys.
fn base_entries(bases: &BTreeSet<i64>, keys: &BTreeSet<Key>) -> Result<Full, Error> {
    let mut full: Full = bases.iter().map(|base| (*base, HashMap::new())).collect();
    if keys.is_empty() {
        return Ok(full);
    }
    let types: BTreeSet<String> = keys.iter().map(|(kind, _)| kind.clone()).collect();
    let names: BTreeSet<String> = keys.iter().map(|(_, key)| key.clone()).collect();
    let rows = storage::query(
        "SELECT group_id, type, state_key, event_id FROM rooms_state_entries
         WHERE group_id IN ($1) AND type IN ($2) AND state_key IN ($3)",
        params![
            bases.iter().copied().collect::<Vec<_>>(),
            types.into_iter().collect::<Vec<_>>(),
            names.into_iter().collect::<Vec<_>>()
        ],
    )?;
    fill(&mut full, rows, |key| keys.contains(key))?;
    Ok(full)
}

fn fill(full: &mut Full, rows: Rows, wanted: impl Fn(&Key) -> bool) -> Result<(), Error> {
    for (base, kind, key, id) in rows.all::<Entry>()? {
        let key = (kind, key);
        if !id.is_empty() && wanted(&key) {
            full.entry(base).or_default().insert(key, id);
        }
    }
    Ok(())
}

/// What full groups hold where they do not hold the same. The database compares them: they may be large.
fn base_differences(bases: &BTreeSet<i64>) -> Result<Full, Error> {
    let mut full = Full::new();
    if bases.len() > 1 {
        let count = i64::try_from(bases.len()).unwrap_or(i64::MAX);
        let rows = storage::query(
            "SELECT e.group_id, e.type, e.state_key, e.event_id FROM rooms_state_entries e
             JOIN (SELECT n.type AS type, n.state_key AS state_key FROM rooms_state_entries n
               WHERE n.group_id IN ($1) GROUP BY n.type, n.state_key
               HAVING count(n.event_id) < $2 OR min(n.event_id) <> max(n.event_id)) d
               ON d.type = e.type AND d.state_key = e.state_key
             WHERE e.group_id IN ($1)",
            params![bases.iter().copied().collect::<Vec<_>>(), count],
        )?;
        fill(&mut full, rows, |_| true)?;
    }
    Ok(full)
}

/// Reads states side by side.
///
/// # Errors
/// Storage failed.
pub fn side_by_side(plans: &[Plan]) -> Result<Side, Error> {
    let groups: BTreeSet<i64> = plans.iter().map(|plan| plan.group).collect();
    let chains = chains(&groups.into_iter().collect::<Vec<_>>())?;
    let bases: BTreeSet<i64> = chains.values().map(|chain| chain.base).collect();
    let read: BTreeSet<i64> = chains
        .values()
        .flat_map(|chain| chain.links.iter().copied())
        .filter(|group| !bases.contains(group))
        .collect();
    let mut entries: BTreeMap<i64, Vec<(Key, String)>> = BTreeMap::new();
    if !read.is_empty() {
        let rows = storage::query(
            "SELECT group_id, type, state_key, event_id FROM rooms_state_entries WHERE group_id IN ($1)",
            params![read.into_iter().collect::<Vec<_>>()],
        )?;
        for (group, kind, key, id) in rows.all::<(i64, String, String, String)>()? {
            entries.entry(group).or_default().push(((kind, key), id));
        }
    }
    let differ = base_differences(&bases)?;
    let mut seen: BTreeSet<Key> = differ.values().flat_map(HashMap::keys).cloned().collect();
    let changed = plans.iter().flat_map(|plan| &plan.changes).map(|(key, _)| key);
    let changed = entries.values().flatten().map(|(key, _)| key).chain(changed);
    let changed: BTreeSet<Key> = changed.filter(|key| !seen.contains(*key)).cloned().collect();
    let mut below = base_entries(&bases, &changed)?;
    for (base, entries) in differ {
        below.entry(base).or_default().extend(entries);
    }
    seen.extend(changed);
    let mut maps = Vec::with_capacity(plans.len());
    for plan in plans {
        let base = chains.get(&plan.group).and_then(|chain| below.get(&chain.base));
        let mut map = base.cloned().unwrap_or_default();
        let links = chains.get(&plan.group).map(|chain| chain.links.as_slice()).unwrap_or_default();
        // From the full one up.
        for group in links.iter().rev() {
            for (key, id) in entries.get(group).into_iter().flatten() {
                map.insert(key.clone(), id.clone());
            }
        }
        for (key, id) in &plan.changes {
            map.insert(key.clone(), id.clone().unwrap_or_default());
        }
        map.retain(|_, id| !id.is_empty());
        maps.push(map);
    }
    let base = bases.first().copied();
    let below = base.and_then(|base| below.remove(&base)).unwrap_or_default();
    Ok(Side { maps, chains, seen, below, base })
}

/// What makes `to` of `from`, in the order of the keys.
pub fn difference(from: &HashMap<Key, String>, to: &HashMap<Key, String>) -> Vec<Change> {
    let keys: BTreeSet<&Key> = from.keys().chain(to.keys()).collect();
    let changed = keys.into_iter().filter(|key| from.get(*key) != to.get(*key));
    changed.map(|key| (key.clone(), to.get(key).cloned())).collect()
}

impl Side {
    /// The chain of a group that was read.
    pub fn chain(&self, group: i64) -> Option<&Chain> {
        self.chains.get(&group)
    }

    /// What these keys hold in all of the states alike; keys in which they may differ are left out.
    fn common(&self, keys: BTreeSet<Key>) -> Result<HashMap<Key, String>, Error> {
        let Some(base) = self.base else {
            return Ok(HashMap::new());
        };
        let keys = keys.into_iter().filter(|key| !self.seen.contains(key)).collect();
        Ok(base_entries(&BTreeSet::from([base]), &keys)?.remove(&base).unwrap_or_default())
    }

    /// Resolves the first `count` states. `fresh`: an event of them that is not stored yet.
    ///
    /// # Errors
    /// Storage failed, or an event is missing: a fault.
    pub fn resolve(
        &self,
        version: &Version,
        count: usize,
        fresh: Option<&Arc<StoredEvent>>,
    ) -> Result<HashMap<Key, String>, Error> {
        let states = self.maps.get(..count).unwrap_or(&self.maps);
        let differ: BTreeSet<&Key> = {
            let keys: BTreeSet<&Key> = states.iter().flat_map(HashMap::keys).collect();
            let first = states.first();
            keys.into_iter()
                .filter(|key| {
                    states.iter().any(|state| state.get(*key) != first.and_then(|f| f.get(*key)))
                })
                .collect()
        };
        if differ.is_empty() {
            return Ok(states.first().cloned().unwrap_or_default());
        }
        let conflicted: BTreeSet<&String> = states
            .iter()
            .flat_map(|state| differ.iter().filter_map(|key| state.get(*key)))
            .collect();
        let mut known = Known::new();
        let mut start: Vec<String> = Vec::new();
        for id in &conflicted {
            match fresh.filter(|event| event.id() == id.as_str()) {
                Some(event) => {
                    known.insert(event.event_id().clone(), Arc::clone(event));
                    start.extend(event.auth_events().map(ToString::to_string));
                }
                None => start.push((*id).clone()),
            }
        }
        auth::load_chain(&start, &mut known)?;
        // From version 12 the create event is read and not named; everywhere the first rules are read for every event.
        let mut keys: BTreeSet<Key> = ["m.room.create", "m.room.power_levels", "m.room.join_rules"]
            .map(|kind| (kind.to_owned(), String::new()))
            .into();
        keys.extend(known.values().flat_map(|event| reads(version, event)));
        let common = self.common(keys)?;
        auth::load_chain(&common.values().cloned().collect::<Vec<_>>(), &mut known)?;
        let maps: Vec<Map> =
            states.iter().map(|state| to_map(state.iter().chain(&common))).collect();
        let differing: HashSet<&Key> = differ.iter().copied().collect();
        let chains = self.auth_chains(states, &differing, &known, &common)?;
        let fetch = |id: &EventId| known.get(id).cloned().or_else(|| auth::load_one(version, id));
        let resolved = resolve::resolve_maps(version, &maps, chains, &known, fetch)
            .map_err(Error::internal)?;
        Ok(resolved
            .into_iter()
            .map(|((kind, key), id)| ((kind.to_string(), key), id.to_string()))
            .filter(|(key, _)| !common.contains_key(key))
            .collect())
    }

    /// The auth chain of each state, without what all states rest on but for what the conflicted events rest on, too.
    fn auth_chains(
        &self,
        states: &[HashMap<Key, String>],
        differ: &HashSet<&Key>,
        known: &Known,
        common: &HashMap<Key, String>,
    ) -> Result<Vec<Ids>, Error> {
        let ids = |ids: &mut dyn Iterator<Item = &String>| -> Vec<OwnedEventId> {
            ids.filter_map(|id| EventId::parse(id).ok()).collect()
        };
        let chain = |from: Vec<OwnedEventId>| {
            resolve::auth_chain(from.into_iter().filter(|id| known.contains_key(id)), known)
                .map_err(Error::internal)
        };
        let mut chains: Vec<Ids> = Vec::with_capacity(states.len());
        for state in states {
            let own = &mut differ.iter().filter_map(|key| state.get(*key));
            chains.push(chain(ids(own))?);
        }
        let all: BTreeSet<OwnedEventId> =
            chains.iter().flat_map(|chain| chain.iter().cloned()).collect();
        // What is in all states is in the chains of all.
        let alike = states.first().into_iter().flatten().filter(|(key, _)| !differ.contains(key));
        let alike: Vec<&String> = alike.map(|(_, id)| id).chain(common.values()).collect();
        let shared = chain(ids(&mut alike.iter().copied()))?;
        let open: Vec<&OwnedEventId> = all
            .iter()
            .filter(|id| !chains.iter().all(|chain| chain.contains(id)) && !shared.contains(id))
            .collect();
        let mut also: Vec<OwnedEventId> =
            all.iter().filter(|id| shared.contains(id)).cloned().collect();
        let conflicted: HashSet<&str> = states
            .iter()
            .flat_map(|s| differ.iter().filter_map(|k| s.get(*k)))
            .map(String::as_str)
            .collect();
        let open: Vec<String> = open
            .into_iter()
            .map(ToString::to_string)
            // These are looked at in any case.
            .filter(|id| !conflicted.contains(id.as_str()))
            .collect();
        if !open.is_empty() {
            let except: Vec<String> = self.below.values().cloned().collect();
            let alike = alike.into_iter().cloned().collect();
            for id in auth::rested_on(self.base, alike, &except, &open)? {
                also.extend(EventId::parse(id.as_str()));
            }
        }
        for chain in &mut chains {
            for id in &also {
                chain.insert(id.clone());
            }
        }
        Ok(chains)
    }
}

fn to_map<'a>(entries: impl Iterator<Item = (&'a Key, &'a String)>) -> Map {
    let parsed = entries.filter_map(|((kind, key), id)| {
        let id = EventId::parse(id.as_str()).ok()?;
        Some(((StateEventType::from(kind.as_str()), key.clone()), id))
    });
    parsed.collect()
}

/// State events under these keys in a planned state, of one room.
///
/// # Errors
/// Storage failed.
pub fn pick(
    version: &Version,
    plan: &Plan,
    keys: &BTreeSet<Key>,
) -> Result<(crate::core::State, Chain), Error> {
    let types: BTreeSet<String> = keys.iter().map(|(kind, _)| kind.clone()).collect();
    let names: BTreeSet<String> = keys.iter().map(|(_, key)| key.clone()).collect();
    let changed: Vec<String> = plan.changes.iter().filter_map(|(_, id)| id.clone()).collect();
    let mut answers = storage::snapshot(&[
        super::state_at::chain_select(plan.group),
        select(
            with_chain!(
                "SELECT n.group_id, n.type, n.state_key, n.event_id, e.json FROM chain c
                 JOIN rooms_state_entries n ON n.group_id = c.group_id
                 LEFT JOIN rooms_events e ON e.event_id = n.event_id
                 WHERE n.type IN ($2) AND n.state_key IN ($3)"
            ),
            params![
                vec![plan.group],
                types.into_iter().collect::<Vec<_>>(),
                names.into_iter().collect::<Vec<_>>()
            ],
        ),
        select("SELECT event_id, json FROM rooms_events WHERE event_id IN ($1)", params![changed]),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let chain = super::state_at::chain_of(plan.group, next()?)?;
    type Row = (i64, String, String, String, Option<String>);
    let mut rows = next()?.all::<Row>()?;
    rows.retain(|row| chain.links.contains(&row.0));
    rows.sort_by_key(|row| row.0);
    let mut newest: HashMap<Key, (String, Option<String>)> = HashMap::new();
    for (_, kind, key, id, json) in rows {
        newest.insert((kind, key), (id, json));
    }
    let fresh: HashMap<String, String> = next()?.all::<(String, String)>()?.into_iter().collect();
    for (key, id) in &plan.changes {
        let id = id.clone().unwrap_or_default();
        let json = fresh.get(&id).cloned();
        newest.insert(key.clone(), (id, json));
    }
    let mut state = crate::core::State::default();
    for (key, (id, json)) in newest {
        if let (true, Some(json)) = (keys.contains(&key), json) {
            state.insert(Arc::new(auth::parse(version, &id, &json, false)?));
        }
    }
    Ok((state, chain))
}
