//! State resolution of room version 1. Spec: room version 1, State resolution.
//!
//! It looks at the conflicted events alone, not at what they rest on, and orders them by depth: that is why it can be
//! fooled, and why later versions have another.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ruma::events::StateEventType;
use ruma::room_version_rules::AuthorizationRules;
use ruma::state_res::{Event as _, check_state_dependent_auth_rules};
use ruma::{EventId, OwnedEventId};
use sha1::{Digest as _, Sha1};

use super::{Map, ResolveError};
use crate::core::event::StoredEvent;

type Key = (StateEventType, String);

/// Types whose conflicts are resolved first, in this order: they decide about the rest.
const FIRST: [StateEventType; 3] =
    [StateEventType::RoomPowerLevels, StateEventType::RoomJoinRules, StateEventType::RoomMember];

/// Resolves states given as ids.
///
/// # Errors
/// A conflicted event is not known.
pub(super) fn resolve(
    rules: &AuthorizationRules,
    maps: &[Map],
    fetch: impl Fn(&EventId) -> Option<Arc<StoredEvent>>,
) -> Result<Map, ResolveError> {
    let mut candidates: BTreeMap<(String, String), BTreeSet<&OwnedEventId>> = BTreeMap::new();
    for (key, id) in maps.iter().flatten() {
        candidates.entry((key.0.to_string(), key.1.clone())).or_default().insert(id);
    }
    let mut resolved = Map::new();
    let mut conflicts: BTreeMap<(String, String), Vec<Arc<StoredEvent>>> = BTreeMap::new();
    for (key, ids) in candidates {
        if let (1, Some(id)) = (ids.len(), ids.first()) {
            resolved.insert((StateEventType::from(key.0), key.1), (*id).clone());
            continue;
        }
        let mut events = Vec::with_capacity(ids.len());
        for id in ids {
            events.push(fetch(id).ok_or_else(|| ResolveError::Missing(id.clone()))?);
        }
        events.sort_by(|a, b| earlier(a, b));
        conflicts.insert(key, events);
    }
    let allowed = |event: &StoredEvent, state: &Map, also: Option<&Arc<StoredEvent>>| {
        let state = |kind: &StateEventType, key: &str| {
            let of = also
                .filter(|event| event.kind() == kind.to_string() && event.state_key() == Some(key));
            of.cloned().or_else(|| fetch(state.get(&(kind.clone(), key.to_owned()))?))
        };
        check_state_dependent_auth_rules(rules, event, state).is_ok()
    };
    for kind in FIRST {
        let mut found: Vec<(Key, OwnedEventId)> = Vec::new();
        for ((_, key), events) in
            conflicts.iter().filter(|((name, _), _)| *name == kind.to_string())
        {
            // The earliest holds; each later one has to be allowed by the one before, and the first that is not ends it.
            let mut events = events.iter();
            let Some(mut last) = events.next() else {
                continue;
            };
            for event in events {
                if !allowed(event, &resolved, Some(last)) {
                    break;
                }
                last = event;
            }
            found.push(((kind.clone(), key.clone()), last.event_id().clone()));
        }
        // Conflicts of one type do not see what became of each other.
        resolved.extend(found);
    }
    let mut found: Vec<(Key, OwnedEventId)> = Vec::new();
    for ((name, key), events) in &conflicts {
        let kind = StateEventType::from(name.as_str());
        if FIRST.contains(&kind) {
            continue;
        }
        // The latest that is allowed; the earliest if none is.
        let best = events.iter().rev().find(|event| allowed(event, &resolved, None));
        if let Some(event) = best.or_else(|| events.first()) {
            found.push(((kind, key.clone()), event.event_id().clone()));
        }
    }
    resolved.extend(found);
    Ok(resolved)
}

/// Ascending depth, then descending SHA-1 of the event id.
fn earlier(a: &StoredEvent, b: &StoredEvent) -> Ordering {
    let hash = |event: &StoredEvent| Sha1::digest(event.id().as_bytes());
    a.depth().cmp(&b.depth()).then_with(|| hash(b).cmp(&hash(a)))
}
