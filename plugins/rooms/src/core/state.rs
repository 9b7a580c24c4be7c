//! A room's state, or the part of it that a decision needs.

use std::collections::HashMap;
use std::sync::Arc;

use ruma::state_res::Event as _;

use super::event::StoredEvent;

/// State events by type and state key.
#[derive(Debug, Clone, Default)]
pub struct State(HashMap<String, HashMap<String, Arc<StoredEvent>>>);

impl State {
    /// The event in force for a type and state key.
    pub fn get(&self, kind: &str, key: &str) -> Option<&Arc<StoredEvent>> {
        self.0.get(kind)?.get(key)
    }

    /// Puts a state event in force; gives the one it replaces. Other events are ignored.
    pub fn insert(&mut self, event: Arc<StoredEvent>) -> Option<Arc<StoredEvent>> {
        let key = event.state_key()?.to_owned();
        self.0.entry(event.kind()).or_default().insert(key, event)
    }

    /// Every state event, in no order.
    pub fn events(&self) -> impl Iterator<Item = &Arc<StoredEvent>> {
        self.0.values().flat_map(HashMap::values)
    }

    /// A user's membership; `leave` if there is none.
    pub fn membership(&self, user: &str) -> String {
        self.get("m.room.member", user)
            .and_then(|event| event.membership())
            .unwrap_or_else(|| "leave".to_owned())
    }
}

impl FromIterator<Arc<StoredEvent>> for State {
    fn from_iter<I: IntoIterator<Item = Arc<StoredEvent>>>(events: I) -> Self {
        let mut state = Self::default();
        for event in events {
            state.insert(event);
        }
        state
    }
}
