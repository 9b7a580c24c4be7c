//! What lists tell of a room: numbers of members and the like, in a row of its own that the commits keep up.
//!
//! The row names the state group that it is true for. A commit that changes the state takes the row from the group before to the one after; if
//! the row is of another group (a node of an older version has written meanwhile) it stays as it is until `filling.rs` writes it anew.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, IntoValue, Value};

use super::write::Id;
use crate::core::StoredEvent;
use crate::ids;

/// So much of a text is kept, in characters. Lists show a line; whoever shows more reads the event.
const LONGEST: usize = 2_000;

/// State that lists tell of, all with an empty state key.
pub const TYPES: [&str; 8] = [
    "m.room.create",
    "m.room.name",
    "m.room.topic",
    "m.room.canonical_alias",
    "m.room.encryption",
    "m.room.join_rules",
    "m.room.guest_access",
    "m.room.history_visibility",
];

/// What a commit changes in the row.
#[derive(Debug, Default)]
pub struct About {
    room_id: String,
    begins: Option<bool>,
    groups: Option<(Id, Id)>,
    joined: i64,
    joined_local: i64,
    invited: i64,
    state_events: i64,
    columns: BTreeMap<&'static str, Value>,
}

impl About {
    /// The room begins here; `published`: in the public list.
    pub fn begin(&mut self, room_id: &str, published: bool) {
        room_id.clone_into(&mut self.room_id);
        self.begins = Some(published);
    }

    /// The group of the room's state before the commit and after it; where the room begins, the latter twice. Without it nothing is
    /// written.
    pub(crate) fn moves(&mut self, room_id: &str, before: Id, after: Id) {
        room_id.clone_into(&mut self.room_id);
        self.groups = Some((before, after));
    }

    /// A piece of the current state changes.
    pub fn change(
        &mut self,
        room_id: &str,
        (kind, key): (&str, &str),
        new: Option<&StoredEvent>,
        was: bool,
    ) {
        room_id.clone_into(&mut self.room_id);
        self.state_events += i64::from(new.is_some()) - i64::from(was);
        if key.is_empty() {
            let content = new.and_then(StoredEvent::content_as).unwrap_or_default();
            self.columns.extend(columns(kind, &content));
        }
    }

    /// A membership changes.
    pub fn membership(&mut self, room_id: &str, user: &str, before: &str, after: &str) {
        room_id.clone_into(&mut self.room_id);
        let change = |what: &str| i64::from(after == what) - i64::from(before == what);
        self.joined += change("join");
        self.invited += change("invite");
        if change("join") != 0 && ids::is_local(user) {
            self.joined_local += change("join");
        }
    }

    /// Adds what is to be written.
    pub fn statements(self, mut batch: Batch) -> Batch {
        let Some((before, after)) = self.groups else {
            return batch;
        };
        if let Some(published) = self.begins {
            batch = batch.run(
                "INSERT INTO rooms_about (room_id, published, joined, joined_local, invited, state_events, state_group)
                 VALUES ($1, $2, 0, 0, 0, 0, $3) ON CONFLICT (room_id) DO NOTHING",
                params![self.room_id.as_str(), published, after],
            );
        }
        let counts = [
            ("joined", self.joined),
            ("joined_local", self.joined_local),
            ("invited", self.invited),
            ("state_events", self.state_events),
        ];
        let mut sets: Vec<String> = Vec::new();
        let mut values = params![self.room_id, before];
        if before != after {
            values.push(after.into_value());
            sets.push("state_group = $3".to_owned());
        }
        for (column, change) in counts.into_iter().filter(|(_, change)| *change != 0) {
            values.push(change.into_value());
            sets.push(format!("{column} = {column} + ${}", values.len()));
        }
        for (column, value) in self.columns {
            values.push(value);
            sets.push(format!("{column} = ${}", values.len()));
        }
        if sets.is_empty() {
            return batch;
        }
        // A room whose row is not there yet, or out of date, gets it with all that is true then.
        let sql = format!(
            "UPDATE rooms_about SET {} WHERE room_id = $1 AND state_group = $2",
            sets.join(", ")
        );
        batch.run(&sql, values)
    }
}

/// Lists a room, or no longer.
pub fn publish(batch: Batch, room_id: &str, listed: bool) -> Batch {
    batch
        .run("UPDATE rooms_rooms SET published = $2 WHERE room_id = $1", params![room_id, listed])
        .run("UPDATE rooms_about SET published = $2 WHERE room_id = $1", params![room_id, listed])
}

/// What the content of a state event says in the row.
pub fn columns(kind: &str, content: &Map<String, Json>) -> Vec<(&'static str, Value)> {
    let text = |key: &str| {
        let text = content.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
        text.map(|text| text.chars().take(LONGEST).collect::<String>())
    };
    let words = |key: &str| text(key).map(|text| text.to_lowercase());
    match kind {
        "m.room.create" => {
            let federates = content.get("m.federate").and_then(Json::as_bool).unwrap_or(true);
            vec![("room_type", text("type").into_value()), ("federatable", federates.into_value())]
        }
        "m.room.name" => {
            vec![("name", text("name").into_value()), ("name_words", words("name").into_value())]
        }
        "m.room.topic" => vec![("topic_words", words("topic").into_value())],
        "m.room.canonical_alias" => vec![
            ("canonical_alias", text("alias").into_value()),
            ("alias_words", words("alias").into_value()),
        ],
        "m.room.encryption" => vec![("encryption", text("algorithm").into_value())],
        "m.room.join_rules" => vec![("join_rule", text("join_rule").into_value())],
        "m.room.guest_access" => vec![("guest_access", text("guest_access").into_value())],
        "m.room.history_visibility" => {
            vec![("history_visibility", text("history_visibility").into_value())]
        }
        _ => Vec::new(),
    }
}
