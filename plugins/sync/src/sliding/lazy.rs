//! Which members a lazy client has been sent. Kept at hand only: where it is lost, members are sent once more.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tessera_sdk::cache;

use super::pos::{Key, Pos};

/// How long it is remembered.
const KEPT_MS: u32 = 60 * 60 * 1000;
/// Members remembered of one room.
const MAX_MEMBERS: usize = 1_000;

/// A member event that went out, and with which answer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Entry {
    event: i64,
    position: i64,
    serial: i64,
}

/// Members of one room by their ids.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Members(BTreeMap<String, Entry>);

/// What the client had before, and the members and their events' positions that go out now, by room.
pub(super) type Sending = HashMap<String, (Members, Vec<(String, i64)>)>;

fn cache_key(key: &Key, room: &str) -> String {
    format!("lazy:{}\n{}\n{}\n{room}", key.user, key.device, key.conn)
}

impl Members {
    /// What the client has, who came with this token: answers that it has not got do not count.
    pub(super) fn of(key: &Key, room: &str, pos: Option<Pos>) -> Self {
        let Some(pos) = pos else { return Self::default() };
        let known = cache::get(&cache_key(key, room));
        let known = known.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut members: Self = known.unwrap_or_default();
        members.0.retain(|_, entry| entry.position <= pos.position && entry.serial <= pos.serial);
        members
    }

    /// Whether the client has this very member event.
    pub(super) fn has(&self, user: &str, event: i64) -> bool {
        self.0.get(user).is_some_and(|entry| entry.event == event)
    }

    /// Remembers what goes out with the answer that has this token.
    pub(super) fn sent(
        mut self,
        key: &Key,
        room: &str,
        users: impl IntoIterator<Item = (String, i64)>,
        pos: Pos,
    ) {
        let new = users.into_iter().map(|(user, event)| {
            (user, Entry { event, position: pos.position, serial: pos.serial })
        });
        self.0.extend(new);
        while self.0.len() > MAX_MEMBERS {
            self.0.pop_first();
        }
        if let Ok(bytes) = serde_json::to_vec(&self) {
            cache::put(&cache_key(key, room), &bytes, KEPT_MS, &[]);
        }
    }
}
