//! What is told of a room to those who are not in it, and who may be told.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Select, select};

/// State that tells of a room.
const TYPES: [&str; 9] = [
    "m.room.create",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.encryption",
];

/// Rooms that are looked up in one snapshot.
const CHUNK: usize = 500;
/// Rooms of a restricted room's `allow` that are looked at.
const MAX_ALLOW: usize = 100;

/// A room, as a list or preview shows it. Spec: client-server API, PublicRoomsChunk and RoomSummary.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct About {
    pub(crate) room_id: String,
    pub(crate) num_joined_members: i64,
    pub(crate) world_readable: bool,
    pub(crate) guest_can_join: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) avatar_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) canonical_alias: Option<String>,
    pub(crate) join_rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) room_type: Option<String>,
    /// What previews tell and the public list does not.
    #[serde(skip)]
    pub(crate) more: More,
}

/// What previews tell beside [`About`].
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct More {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) allowed_room_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<String>,
    pub(crate) room_version: String,
}

#[derive(Deserialize)]
struct Event {
    content: Value,
}

impl About {
    pub(crate) fn is_space(&self) -> bool {
        self.room_type.as_deref() == Some("m.space")
    }

    /// Takes in one state event (JSON).
    fn learn(&mut self, kind: &str, json: &str) {
        let content = serde_json::from_str(json).map(|event: Event| event.content);
        let content = content.unwrap_or_default();
        let text = |key: &str| {
            let text = content.get(key).and_then(Value::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        match kind {
            "m.room.create" => self.room_type = text("type"),
            "m.room.name" => self.name = text("name"),
            "m.room.topic" => self.topic = text("topic"),
            "m.room.avatar" => self.avatar_url = text("url"),
            "m.room.canonical_alias" => self.canonical_alias = text("alias"),
            "m.room.encryption" => self.more.encryption = text("algorithm"),
            "m.room.join_rules" => {
                self.join_rule = text("join_rule").unwrap_or_else(|| "invite".to_owned());
                if self.is_restricted() {
                    self.more.allowed_room_ids = allowed(&content);
                }
            }
            "m.room.history_visibility" => {
                self.world_readable =
                    text("history_visibility").as_deref() == Some("world_readable");
            }
            "m.room.guest_access" => {
                self.guest_can_join = text("guest_access").as_deref() == Some("can_join");
            }
            _ => {}
        }
    }

    fn is_restricted(&self) -> bool {
        matches!(self.join_rule.as_str(), "restricted" | "knock_restricted")
    }

    /// Whether people are told of the room who have no account here.
    pub(crate) fn is_open(&self) -> bool {
        self.world_readable
            || matches!(self.join_rule.as_str(), "public" | "knock" | "knock_restricted")
    }
}

fn allowed(content: &Value) -> Vec<String> {
    let rules = content.get("allow").and_then(Value::as_array);
    let member = |rule: &&Value| rule["type"] == "m.room_membership";
    rules
        .into_iter()
        .flatten()
        .filter(member)
        .filter_map(|rule| rule["room_id"].as_str().map(str::to_owned))
        .take(MAX_ALLOW)
        .collect()
}

/// Looks rooms up, without their numbers of members (see [`count`]); unknown ones are left out.
///
/// # Errors
/// Storage failed.
pub(crate) fn load(rooms: &[String]) -> Result<HashMap<String, About>, Error> {
    let mut found = HashMap::new();
    for chunk in rooms.chunks(CHUNK) {
        let mut answers = storage::snapshot(&selects(chunk))?.answers();
        let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
        for (room_id, version) in next()?.all::<(String, String)>()? {
            let more = More { room_version: version, ..More::default() };
            let join_rule = "invite".to_owned();
            let about = About { room_id: room_id.clone(), join_rule, more, ..About::default() };
            found.insert(room_id, about);
        }
        for (room_id, kind, json) in next()?.all::<(String, String, String)>()? {
            if let Some(about) = found.get_mut(&room_id) {
                about.learn(&kind, &json);
            }
        }
    }
    Ok(found)
}

fn selects(rooms: &[String]) -> [Select; 2] {
    let types: Vec<String> = TYPES.iter().map(|kind| (*kind).to_owned()).collect();
    [
        select("SELECT room_id, version FROM rooms_v1_rooms WHERE room_id IN ($1)", params![rooms]),
        select(
            "SELECT room_id, type, json FROM rooms_v1_current_state
             WHERE room_id IN ($1) AND type IN ($2) AND state_key = ''",
            params![rooms, types],
        ),
    ]
}

/// Fills in how many members rooms have.
///
/// # Errors
/// Storage failed.
pub(crate) fn count<'a>(rooms: impl IntoIterator<Item = &'a mut About>) -> Result<(), Error> {
    let mut rooms: Vec<_> = rooms.into_iter().collect();
    let ids: Vec<String> = rooms.iter().map(|room| room.room_id.clone()).collect();
    let kept = "SELECT room_id, joined FROM rooms_v1_counts WHERE room_id IN ($1)";
    let kept = storage::query(kept, params![ids.clone()])?;
    let mut counts: HashMap<String, i64> = kept.all::<(String, i64)>()?.into_iter().collect();
    let uncounted: Vec<String> = ids.into_iter().filter(|id| !counts.contains_key(id)).collect();
    if !uncounted.is_empty() {
        let counted = storage::query(
            "SELECT room_id, COUNT(user_id) AS n FROM rooms_v1_memberships
             WHERE membership = 'join' AND room_id IN ($1) GROUP BY room_id",
            params![uncounted],
        )?;
        counts.extend(counted.all::<(String, i64)>()?);
    }
    for room in &mut rooms {
        room.num_joined_members = counts.get(&room.room_id).copied().unwrap_or_default();
    }
    Ok(())
}

/// What a user is in rooms.
#[derive(Debug, Default)]
pub(crate) struct Viewer {
    memberships: HashMap<String, String>,
}

impl Viewer {
    /// Looks up the user's memberships of these rooms, and of those that let others in.
    ///
    /// # Errors
    /// Storage failed.
    pub(crate) fn of<'a>(
        user: &str,
        rooms: impl IntoIterator<Item = &'a About>,
    ) -> Result<Self, Error> {
        let mut ids = HashSet::new();
        for room in rooms {
            ids.insert(room.room_id.clone());
            ids.extend(room.more.allowed_room_ids.iter().cloned());
        }
        let ids: Vec<String> = ids.into_iter().collect();
        let mut memberships = HashMap::new();
        for chunk in ids.chunks(CHUNK) {
            let rows = storage::query(
                "SELECT room_id, membership FROM rooms_v1_memberships WHERE user_id = $1 AND room_id IN ($2)",
                params![user, chunk],
            )?;
            memberships.extend(rows.all::<(String, String)>()?);
        }
        Ok(Self { memberships })
    }

    /// The user's membership of a room that was looked up.
    pub(crate) fn membership(&self, room_id: &str) -> Option<&str> {
        self.memberships.get(room_id).map(String::as_str)
    }

    /// Whether the user is told of a room. Spec: client-server API, `/hierarchy` and `/room_summary`.
    pub(crate) fn may_see(&self, room: &About) -> bool {
        match self.membership(&room.room_id) {
            Some("join" | "invite") => return true,
            Some("ban") => return room.world_readable,
            _ => {}
        }
        let joined = |id: &String| self.membership(id) == Some("join");
        room.is_open() || room.is_restricted() && room.more.allowed_room_ids.iter().any(joined)
    }
}
