//! Filters. Spec: <https://spec.matrix.org/v1.19/client-server-api/#filtering>

use serde::Deserialize;
use tessera_sdk::matrix::Error;

/// Timeline length where the filter says nothing.
const DEFAULT_LIMIT: usize = 10;
/// The longest timeline that is given, whatever the filter says.
const MAX_LIMIT: usize = 1000;

/// A filter for /sync.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Dotted paths of the members to keep; absent keeps all.
    pub event_fields: Option<Vec<String>>,
    /// `client` or `federation`.
    pub event_format: Option<String>,
    /// Presence events.
    pub presence: EventFilter,
    /// Global account data.
    pub account_data: EventFilter,
    /// Rooms.
    pub room: RoomFilter,
}

/// The `room` part.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RoomFilter {
    /// Only these rooms.
    pub rooms: Option<Vec<String>>,
    /// Never these rooms.
    pub not_rooms: Vec<String>,
    /// Rooms that were left, too.
    pub include_leave: bool,
    /// State.
    pub state: EventFilter,
    /// Timelines.
    pub timeline: EventFilter,
    /// Typing and receipts.
    pub ephemeral: EventFilter,
    /// Account data of rooms.
    pub account_data: EventFilter,
}

/// What every kind of event is filtered by; members that a kind does not know are ignored.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// The most events.
    pub limit: Option<u64>,
    /// Only these types; `*` stands for any characters.
    pub types: Option<Vec<String>>,
    /// Never these types; wins over `types`.
    pub not_types: Vec<String>,
    /// Only these senders.
    pub senders: Option<Vec<String>>,
    /// Never these senders.
    pub not_senders: Vec<String>,
    /// Only these rooms.
    pub rooms: Option<Vec<String>>,
    /// Never these rooms.
    pub not_rooms: Vec<String>,
    /// Only with, or only without, a `url` in the content.
    pub contains_url: Option<bool>,
    /// Member events of those who speak only.
    pub lazy_load_members: bool,
    /// Member events that were sent before, again.
    pub include_redundant_members: bool,
    /// Counts for each thread.
    pub unread_thread_notifications: bool,
    /// Only events to which others of these types relate (/messages).
    pub related_by_rel_types: Option<Vec<String>>,
    /// Only events to which others of these senders relate (/messages).
    pub related_by_senders: Option<Vec<String>>,
}

/// Whether `pattern`, in which `*` stands for any characters, fits all of `text`.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return left.ends_with(piece);
        }
        match left.find(piece) {
            Some(at) => left = left.get(at + piece.len()..).unwrap_or(""),
            None => return false,
        }
    }
    true
}

impl Filter {
    /// Whether events go out with all of their `unsigned`.
    pub fn shows_unsigned(&self) -> bool {
        let kept = |fields: &Vec<String>| fields.iter().any(|field| field == "unsigned");
        self.event_format.as_deref() != Some("federation")
            && self.event_fields.as_ref().is_none_or(kept)
    }

    /// Reads a filter.
    ///
    /// # Errors
    /// `M_BAD_JSON` or `M_NOT_JSON`, as for a body.
    pub fn parse(json: &str) -> Result<Self, Error> {
        serde_json::from_str(json).map_err(|error| {
            if error.is_data() {
                Error::bad_json(format!("filter: {error}"))
            } else {
                Error::not_json(format!("filter: {error}"))
            }
        })
    }
}

impl RoomFilter {
    /// Whether the room may appear at all.
    pub fn allows(&self, room_id: &str) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(|r| r == room_id))
            && !self.not_rooms.iter().any(|r| r == room_id)
    }
}

impl EventFilter {
    /// The most events to give.
    pub fn limit(&self) -> usize {
        self.limit.map_or(DEFAULT_LIMIT, |n| usize::try_from(n).unwrap_or(MAX_LIMIT).min(MAX_LIMIT))
    }

    /// Whether it lets pass all that there is, the limit aside.
    pub fn is_open(&self) -> bool {
        self.types.is_none()
            && self.not_types.is_empty()
            && self.senders.is_none()
            && self.not_senders.is_empty()
            && self.contains_url.is_none()
    }

    /// Whether a type passes.
    pub fn allows_type(&self, kind: &str) -> bool {
        self.types.as_ref().is_none_or(|types| types.iter().any(|t| glob(t, kind)))
            && !self.not_types.iter().any(|t| glob(t, kind))
    }

    /// Whether a sender passes.
    pub fn allows_sender(&self, sender: &str) -> bool {
        self.senders.as_ref().is_none_or(|senders| senders.iter().any(|s| s == sender))
            && !self.not_senders.iter().any(|s| s == sender)
    }

    /// Whether every sender passes.
    pub fn any_sender(&self) -> bool {
        self.senders.is_none() && self.not_senders.is_empty()
    }

    /// Whether anything of a room passes.
    pub fn allows_room(&self, room_id: &str) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(|r| r == room_id))
            && !self.not_rooms.iter().any(|r| r == room_id)
    }

    /// Whether an event passes. `json` is looked into only where the filter asks for `contains_url`.
    pub fn allows(&self, kind: &str, sender: &str, json: &str) -> bool {
        self.allows_type(kind)
            && self.allows_sender(sender)
            && self.contains_url.is_none_or(|wanted| {
                let event: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
                let has = event.pointer("/content/url").is_some_and(serde_json::Value::is_string);
                has == wanted
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stands_for_any_characters() {
        assert!(glob("m.room.*", "m.room.message"));
        assert!(glob("*", ""));
        assert!(glob("*.message", "m.room.message"));
        assert!(glob("m.*.mess*e", "m.room.message"));
        assert!(!glob("m.room.*", "m.rooms"));
        assert!(!glob("a*a", "a"));
        assert!(!glob("m.room", "m.room.message"));
    }

    #[test]
    fn not_types_win_over_types() {
        let filter = EventFilter {
            types: Some(vec!["m.*".to_owned()]),
            not_types: vec!["m.room.member".to_owned()],
            ..EventFilter::default()
        };
        assert!(filter.allows_type("m.room.message"));
        assert!(!filter.allows_type("m.room.member"));
        assert!(!filter.allows_type("org.example"));
    }

    #[test]
    fn contains_url_looks_at_the_content() {
        let filter = EventFilter { contains_url: Some(true), ..EventFilter::default() };
        assert!(filter.allows("t", "@a:b", r#"{"content":{"url":"mxc://a/b"}}"#));
        assert!(!filter.allows("t", "@a:b", r#"{"content":{"body":"x"}}"#));
    }

    #[test]
    fn malformed_filters_are_refused_with_the_right_code() {
        assert_eq!(Filter::parse("{").unwrap_err().errcode(), "M_NOT_JSON");
        assert_eq!(Filter::parse(r#"{"room":5}"#).unwrap_err().errcode(), "M_BAD_JSON");
        assert_eq!(Filter::parse("{}").unwrap().room.timeline.limit(), 10);
    }
}
