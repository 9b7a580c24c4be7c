//! Whether an event may be: the auth rules of its room version.
//!
//! Spec: server-server API, Checks performed on receipt of a PDU (points 4 to 6), and Authorization rules of each
//! room version. The rules themselves are ruma's.

use std::sync::Arc;

use ruma::EventId;
use ruma::events::StateEventType;
use ruma::room_version_rules::AuthorizationRules;
use ruma::state_res::{
    Event as _, auth_types_for_event, check_state_dependent_auth_rules,
    check_state_independent_auth_rules,
};

use super::event::StoredEvent;
use super::state::State;
use super::version::Version;

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It takes its place in the room.
    Allow,
    /// It is kept as refused and never shown. The reason is for logs and errors.
    Reject(String),
    /// Its own past allows it and the room's present does not: kept, but not shown.
    SoftFail(String),
}

impl Decision {
    /// The reason of a refusal.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Allow => None,
            Self::Reject(reason) | Self::SoftFail(reason) => Some(reason),
        }
    }
}

/// Decides on an event from anywhere.
///
/// `auth_events` are those that the event names (missing ones left out) and, from version 12, also the room's
/// create event; `before` is the state before the event; `current` the state of the room now, if that may differ.
pub fn decide(
    version: &Version,
    event: &StoredEvent,
    auth_events: &State,
    before: &State,
    current: Option<&State>,
) -> Decision {
    let rules = &version.rules().authorization;
    let checked = independent(rules, event, auth_events)
        .and_then(|()| dependent(rules, event, auth_events))
        .and_then(|()| dependent(rules, event, before));
    if let Err(reason) = checked {
        return Decision::Reject(reason);
    }
    match current.map(|state| dependent(rules, event, state)) {
        Some(Err(reason)) => Decision::SoftFail(reason),
        _ => Decision::Allow,
    }
}

/// Decides on an event made here on top of `state`, from which its auth events were selected: one look is enough.
pub fn decide_local(version: &Version, event: &StoredEvent, state: &State) -> Decision {
    let rules = &version.rules().authorization;
    match independent(rules, event, state).and_then(|()| dependent(rules, event, state)) {
        Ok(()) => Decision::Allow,
        Err(reason) => Decision::Reject(reason),
    }
}

fn independent(
    rules: &AuthorizationRules,
    event: &StoredEvent,
    known: &State,
) -> Result<(), String> {
    let fetch = |id: &EventId| {
        known.events().find(|known| known.event_id() == id).map(|known| known.as_ref())
    };
    check_state_independent_auth_rules(rules, event, fetch)
}

fn dependent(rules: &AuthorizationRules, event: &StoredEvent, state: &State) -> Result<(), String> {
    let fetch =
        |kind: &StateEventType, key: &str| state.get(&kind.to_string(), key).map(Arc::as_ref);
    check_state_dependent_auth_rules(rules, event, fetch)
}

/// Type and key of the state that the auth rules read for an event; nothing of a malformed one, which they refuse in their words.
pub fn reads(version: &Version, event: &StoredEvent) -> impl Iterator<Item = (String, String)> {
    let types = auth_types_for_event(
        event.event_type(),
        event.sender(),
        event.state_key(),
        event.content(),
        &version.rules().authorization,
    );
    types.unwrap_or_default().into_iter().map(|(kind, key)| (kind.to_string(), key))
}
