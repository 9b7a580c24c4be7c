//! An event, read as far as counting needs it.

use ruma::push::FlattenedJson;
use ruma::serde::Raw;
use serde_json::Value;

use super::read::Event;

/// An event, read as far as counting needs it.
pub(super) struct Parsed {
    pub flat: FlattenedJson,
    /// Users it mentions, as written.
    pub mentions: Vec<String>,
    /// Whom it invites; somebody's member event otherwise.
    pub target: Option<String>,
    pub invite: bool,
}

impl Parsed {
    /// Whether a default rule could say something else of it to this user than to all others.
    pub(super) fn concerns(&self, user: &str) -> bool {
        self.target.as_deref() == Some(user) || self.mentions.iter().any(|known| known == user)
    }
}

/// Whether the default rules could say anything about this event. They notify of a few types, and of mentions in any.
pub(super) fn matters(event: &Event) -> bool {
    match event.kind.as_str() {
        "m.room.message" | "m.room.encrypted" | "m.call.invite" | "m.room.tombstone" => true,
        "m.room.member" => event.json.contains("\"invite\""),
        _ => event.json.contains("mentions"),
    }
}

/// Whether it may say that the whole room is mentioned.
pub(super) fn may_call_all(event: &Event) -> bool {
    event.json.contains("mentions") && event.json.contains("\"room\"")
}

/// Reads an event; nothing if it is no JSON (nested deeper than can be read).
pub(super) fn parse(event: &Event) -> Option<Parsed> {
    let value: Value = serde_json::from_str(&event.json).ok()?;
    let content = value.get("content");
    let text = |key: &str| content.and_then(|content| content.get(key)).and_then(Value::as_str);
    let mentions =
        content.and_then(|content| content.get("m.mentions")?.get("user_ids")?.as_array());
    let mentions = mentions
        .into_iter()
        .flatten()
        .filter_map(|user| user.as_str().map(str::to_owned))
        .collect();
    let member = event.kind == "m.room.member";
    let invite = member && text("membership") == Some("invite");
    let raw: Raw<Value> = Raw::from_json_string(event.json.clone()).ok()?;
    Some(Parsed {
        flat: FlattenedJson::from_raw(&raw),
        mentions,
        target: event.state_key.clone().filter(|_| member),
        invite,
    })
}

/// What an event says of its place.
pub(super) enum Relation {
    Nothing,
    /// It is part of the thread with this root.
    Thread(String),
    /// It belongs to this event, and to that one's thread.
    Event(String),
}

/// Longest id of an event that is related to, in bytes.
const MAX_ID: usize = 255;

/// What an event relates to. Reactions and redactions are not read: they neither count nor show what somebody has read.
pub(super) fn relation(event: &Event) -> Relation {
    if matches!(event.kind.as_str(), "m.reaction" | "m.room.redaction")
        || !event.json.contains("m.relates_to")
    {
        return Relation::Nothing;
    }
    let value: Value = serde_json::from_str(&event.json).unwrap_or_default();
    let relation = value.get("content").and_then(|content| content.get("m.relates_to"));
    let text = |key: &str| relation.and_then(|relation| relation.get(key)).and_then(Value::as_str);
    match (text("rel_type"), text("event_id")) {
        (Some(kind), Some(id)) if id.starts_with('$') && id.len() <= MAX_ID => {
            let id = id.to_owned();
            if kind == "m.thread" { Relation::Thread(id) } else { Relation::Event(id) }
        }
        _ => Relation::Nothing,
    }
}
