//! How long what a room's events name is kept, and how much of it.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use tessera_sdk::matrix::Error;
use tessera_sdk::{params, storage};

use crate::config::Config;

const DAY_MS: u64 = 86_400_000;
/// The entry for rooms without one of their own.
const ALL: &str = "*";

/// Of one room. None: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) age_ms: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

impl Policy {
    pub(crate) fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Whether any room may have one.
pub(crate) fn any(config: &Config) -> bool {
    config.retention_from_rooms || !config.retention_by_room.is_empty()
}

/// Policies of rooms. An entry of the operator's goes before what the room says, and that before the entry for all.
pub(crate) struct Policies<'a> {
    config: &'a Config,
    /// What rooms say themselves, in milliseconds.
    said: HashMap<String, u64>,
    asked: HashSet<String>,
}

impl<'a> Policies<'a> {
    pub(crate) fn new(config: &'a Config) -> Self {
        Self { config, said: HashMap::new(), asked: HashSet::new() }
    }

    /// Reads what rooms say. To be called before [`Policies::of`].
    pub(crate) fn learn(&mut self, rooms: &[String]) -> Result<(), Error> {
        let mut new: Vec<String> =
            rooms.iter().filter(|room| !self.asked.contains(*room)).cloned().collect();
        if !self.config.retention_from_rooms || new.is_empty() {
            return Ok(());
        }
        let found: Vec<(String, String)> = storage::query(
            "SELECT room_id, json FROM rooms_v1_current_state \
             WHERE type = 'm.room.retention' AND state_key = '' AND room_id IN ($1)",
            params![new.clone()],
        )?
        .all()?;
        let least = self.config.retention_from_rooms_min_days.saturating_mul(DAY_MS);
        for (room, event) in found {
            if let Some(ms) = lifetime(&event) {
                self.said.insert(room, ms.max(least));
            }
        }
        self.asked.extend(new.drain(..));
        Ok(())
    }

    pub(crate) fn of(&self, room: &str) -> Policy {
        let entry = |name: &str| {
            let mut entries = self.config.retention_by_room.iter();
            entries.find(|entry| entry.room == name).map(|entry| Policy {
                age_ms: Some(entry.days).filter(|d| *d > 0).map(|d| d.saturating_mul(DAY_MS)),
                bytes: Some(entry.bytes).filter(|bytes| *bytes > 0),
            })
        };
        if let Some(own) = entry(room) {
            return own;
        }
        let all = entry(ALL).unwrap_or_default();
        Policy { age_ms: self.said.get(room).copied().or(all.age_ms), ..all }
    }
}

/// `max_lifetime` of an `m.room.retention`, in milliseconds. MSC1763.
fn lifetime(event: &str) -> Option<u64> {
    let event: Value = serde_json::from_str(event).ok()?;
    event.pointer("/content/max_lifetime")?.as_u64().filter(|ms| *ms > 0)
}
