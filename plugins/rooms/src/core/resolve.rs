//! One state out of several: state resolution.
//!
//! Rooms are written one event after another here, so their graph forks only where another server took part.
//! Spec: room version 1, State resolution (ours, see `v1`); room version 2 (2.0) and room version 12 (2.1): ruma's.

mod v1;

use std::collections::HashMap;
use std::sync::Arc;

use ruma::events::StateEventType;
use ruma::state_res::utils::event_id_set::EventIdSet;
use ruma::state_res::{Event as _, StateMap};
use ruma::{EventId, OwnedEventId};

use super::event::StoredEvent;
use super::state::State;
use super::version::Version;

/// Events by id.
pub type Known = HashMap<OwnedEventId, Arc<StoredEvent>>;
/// A state: event ids by type and state key.
pub type Map = StateMap<OwnedEventId>;
/// A set of event ids.
pub type Ids = EventIdSet<OwnedEventId>;

/// Why there is no resolved state.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// An event that is needed is not known; ask for it and try again.
    #[error("event {0} is not known")]
    Missing(OwnedEventId),
    /// The algorithm gave up.
    #[error("state resolution: {0}")]
    Failed(String),
}

/// Resolves states of one room, of which every event and all that they rest on are known. A single state is its own resolution.
///
/// # Errors
/// See [`ResolveError`].
pub fn resolve(version: &Version, states: &[State], known: &Known) -> Result<State, ResolveError> {
    if let [state] = states {
        return Ok(state.clone());
    }
    let maps: Vec<Map> = states.iter().map(as_map).collect();
    let chains = maps
        .iter()
        .map(|map| auth_chain(map.values().cloned(), known))
        .collect::<Result<Vec<_>, _>>()?;
    resolve_maps(version, &maps, chains, known, |id| known.get(id).cloned())?
        .into_values()
        .map(|id| known.get(&id).cloned().ok_or(ResolveError::Missing(id)))
        .collect()
}

/// Resolves states given as ids. `chains`: the auth chain of each; what lies in all of them may be left out of all. `known`
/// holds the conflicted events and all that they rest on; `fetch` gives any event of the states or of `known`.
///
/// # Errors
/// See [`ResolveError`].
pub fn resolve_maps(
    version: &Version,
    maps: &[Map],
    chains: Vec<Ids>,
    known: &Known,
    fetch: impl Fn(&EventId) -> Option<Arc<StoredEvent>>,
) -> Result<Map, ResolveError> {
    let rules = version.rules();
    let Some(algorithm) = rules.state_res.v2_rules() else {
        return v1::resolve(&rules.authorization, maps, fetch);
    };
    let subgraph = |conflicted: &StateMap<Vec<OwnedEventId>>| {
        subgraph(conflicted.values().flatten().cloned().collect(), known)
    };
    ruma::state_res::resolve(&rules.authorization, algorithm, maps, chains, fetch, subgraph)
        .map_err(|error| ResolveError::Failed(error.to_string()))
}

/// The state as ids.
pub fn as_map(state: &State) -> Map {
    state
        .events()
        .map(|event| {
            let key = event.state_key().unwrap_or_default().to_owned();
            let kind = StateEventType::from(event.kind());
            ((kind, key), event.event_id().clone())
        })
        .collect()
}

/// The events and everything that they rest on.
///
/// # Errors
/// [`ResolveError::Missing`].
pub fn auth_chain(
    from: impl Iterator<Item = OwnedEventId>,
    known: &Known,
) -> Result<Ids, ResolveError> {
    let mut chain = EventIdSet::new();
    let mut open: Vec<OwnedEventId> = from.collect();
    while let Some(id) = open.pop() {
        let event = known.get(&id).ok_or_else(|| ResolveError::Missing(id.clone()))?;
        if chain.insert(id) {
            open.extend(event.auth_events().cloned());
        }
    }
    Ok(chain)
}

/// Everything that lies on a path of auth events between two conflicted events, these included.
/// Spec: room version 12, State resolution, conflicted state subgraph.
fn subgraph(conflicted: Vec<OwnedEventId>, known: &Known) -> Option<EventIdSet<OwnedEventId>> {
    let below = auth_chain(conflicted.iter().cloned(), known).ok()?;
    let mut above: HashMap<&OwnedEventId, Vec<&OwnedEventId>> = HashMap::new();
    for id in below.iter() {
        for auth in known.get(id)?.auth_events() {
            above.entry(auth).or_default().push(id);
        }
    }
    // `below` is what conflicted events rest on; of that, what rests on conflicted events.
    let mut found = EventIdSet::new();
    let mut open: Vec<OwnedEventId> = conflicted;
    while let Some(id) = open.pop() {
        if let Some(resting) = above.get(&id) {
            open.extend(resting.iter().filter(|id| !found.contains(id)).map(|id| (*id).clone()));
        }
        found.insert(id);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::build::{self, Draft, Extremity, Place};
    use crate::core::{content, decide_local};

    const ALICE: &str = "@alice:hs1";
    const BOB: &str = "@bob:hs1";

    /// A room that can be forked: each branch is a state and its end.
    #[derive(Clone)]
    struct Branch {
        version: Version,
        room_id: Option<String>,
        state: State,
        ends: Vec<Extremity>,
        now_ms: u64,
    }

    impl Branch {
        fn add(
            &mut self,
            known: &mut Known,
            kind: &str,
            key: &str,
            by: &str,
            body: serde_json::Value,
        ) {
            self.now_ms += 1;
            let content = content::parse(body.to_string().as_bytes()).unwrap();
            let chosen_id = format!("${}:hs1", self.now_ms);
            let place = Place {
                version: &self.version,
                room_id: self.room_id.as_deref(),
                extremities: &self.ends,
                state: &self.state,
                now_ms: self.now_ms,
                chosen_id: Some(&chosen_id),
            };
            let built = build::build(&place, &Draft::state(kind, key, by, content)).unwrap();
            assert_eq!(decide_local(&self.version, &built.event, &self.state).refusal(), None);
            if self.room_id.is_none() {
                self.room_id = Some(tessera_sdk::matrix::room_id_of_create(built.event.id()));
            }
            known.insert(built.event.event_id().clone(), Arc::clone(&built.event));
            self.state.insert(Arc::clone(&built.event));
            self.ends = vec![built.extremity()];
        }
    }

    fn room(version: &str, known: &mut Known) -> Branch {
        let version = Version::named(version).unwrap();
        let room_id = (!version.room_id_is_hash()).then(|| "!r:hs1".to_owned());
        let users =
            if version.room_id_is_hash() { json!({BOB: 50}) } else { json!({ALICE: 100, BOB: 50}) };
        let name = version.name().to_owned();
        let mut room =
            Branch { version, room_id, state: State::default(), ends: Vec::new(), now_ms: 1 };
        room.add(
            known,
            "m.room.create",
            "",
            ALICE,
            json!({"room_version": name, "creator": ALICE}),
        );
        room.add(known, "m.room.member", ALICE, ALICE, json!({"membership": "join"}));
        room.add(known, "m.room.power_levels", "", ALICE, json!({"users": users}));
        room.add(known, "m.room.join_rules", "", ALICE, json!({"join_rule": "public"}));
        room.add(known, "m.room.member", BOB, BOB, json!({"membership": "join"}));
        room
    }

    #[test]
    fn ban_wins_over_what_the_banned_did_meanwhile() {
        for version in ["6", "11", "12"] {
            let mut known = Known::new();
            let mut one = room(version, &mut known);
            let mut two = one.clone();
            one.add(&mut known, "m.room.member", BOB, ALICE, json!({"membership": "ban"}));
            two.now_ms += 10;
            two.add(&mut known, "m.room.topic", "", BOB, json!({"topic": "mine"}));
            for states in
                [[one.state.clone(), two.state.clone()], [two.state.clone(), one.state.clone()]]
            {
                let resolved = resolve(&one.version, &states, &known).unwrap();
                assert_eq!(resolved.membership(BOB), "ban", "version {version}");
                assert!(resolved.get("m.room.topic", "").is_none(), "version {version}");
                assert_eq!(resolved.membership(ALICE), "join");
            }
        }
    }

    #[test]
    fn later_of_two_topics_wins_whatever_the_order() {
        for version in ["6", "11", "12"] {
            let mut known = Known::new();
            let mut one = room(version, &mut known);
            let mut two = one.clone();
            one.add(&mut known, "m.room.topic", "", ALICE, json!({"topic": "earlier"}));
            two.now_ms += 10;
            two.add(&mut known, "m.room.topic", "", BOB, json!({"topic": "later"}));
            for states in
                [[one.state.clone(), two.state.clone()], [two.state.clone(), one.state.clone()]]
            {
                let resolved = resolve(&one.version, &states, &known).unwrap();
                let topic = resolved.get("m.room.topic", "").unwrap();
                assert_eq!(Some(topic.id()), two.state.get("m.room.topic", "").map(|e| e.id()));
            }
        }
    }

    #[test]
    fn missing_event_is_named() {
        let mut known = Known::new();
        let one = room("11", &mut known);
        let mut two = one.clone();
        two.add(&mut known, "m.room.topic", "", ALICE, json!({"topic": "x"}));
        let gone = two.state.get("m.room.topic", "").unwrap().event_id().clone();
        known.remove(&gone);
        let error = resolve(&one.version, &[one.state.clone(), two.state], &known).unwrap_err();
        assert!(matches!(error, ResolveError::Missing(id) if id == gone));
    }
}
