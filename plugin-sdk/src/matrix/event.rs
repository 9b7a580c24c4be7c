//! Stored events (federation format) as clients get them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// The members of a stored event that are looked at; contents stay as they are.
#[derive(Debug, Clone, Deserialize)]
pub struct Pdu<'a> {
    /// Event type.
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    /// Full user id.
    #[serde(borrow)]
    pub sender: Cow<'a, str>,
    /// Absent in the create event of room version 12 and later.
    #[serde(borrow, default)]
    pub room_id: Option<Cow<'a, str>>,
    /// Present in state events.
    #[serde(borrow, default)]
    pub state_key: Option<Cow<'a, str>>,
    /// Untouched.
    #[serde(borrow)]
    pub content: &'a RawValue,
    /// Milliseconds since the Unix epoch.
    pub origin_server_ts: i64,
    /// Top-level member of redactions before room version 11.
    #[serde(borrow, default)]
    pub redacts: Option<Cow<'a, str>>,
}

/// What is added for the reader. Empty members are left out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Unsigned {
    /// Milliseconds since it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<i64>,
    /// For the device that sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// Content of the state event that it replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_content: Option<Value>,
    /// Id of the state event that it replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces_state: Option<String>,
    /// The redaction, in client format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted_because: Option<Value>,
    /// The reader's membership at the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<String>,
    /// Bundled aggregations.
    #[serde(rename = "m.relations", skip_serializing_if = "Option::is_none")]
    pub relations: Option<Value>,
}

/// Which form a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFormat {
    /// As in /messages, /event and the like: with `room_id`.
    WithRoomId,
    /// As in /sync: the room is known from the place.
    WithoutRoomId,
    /// Stripped state: type, sender, state key and content only.
    Stripped,
}

#[derive(Serialize)]
struct Client<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    sender: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    content: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin_server_ts: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacts: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unsigned: Option<&'a Unsigned>,
}

#[derive(Deserialize)]
struct Redacts<'a> {
    #[serde(borrow, default)]
    redacts: Option<Cow<'a, str>>,
}

impl<'a> Pdu<'a> {
    /// Reads a stored event.
    ///
    /// # Errors
    /// It is no event; cannot happen to what `rooms` accepted.
    pub fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// Writes it for a client. `room_id` is needed for the create event of room version 12, which carries none.
    /// Spec: client-server API, Room event format. `redacts` is served both in the content and at the top level,
    /// whatever the room version (client-server API, `m.room.redaction`).
    ///
    /// # Errors
    /// Cannot happen to what [`Pdu::parse`] read.
    pub fn to_client(
        &self,
        event_id: &str,
        room_id: &str,
        format: ClientFormat,
        unsigned: &Unsigned,
    ) -> Result<Box<RawValue>, serde_json::Error> {
        let full = format != ClientFormat::Stripped;
        let mut redacts = self.redacts.clone();
        let mut content = Cow::Borrowed(self.content);
        if full && self.kind == "m.room.redaction" {
            let inner = serde_json::from_str::<Redacts<'_>>(self.content.get())?.redacts;
            match (&redacts, inner) {
                (None, Some(id)) => redacts = Some(Cow::Owned(id.into_owned())),
                (Some(id), None) => {
                    let mut value: Value = serde_json::from_str(self.content.get())?;
                    if let Some(map) = value.as_object_mut() {
                        map.insert("redacts".to_owned(), Value::from(id.as_ref()));
                    }
                    content = Cow::Owned(serde_json::value::to_raw_value(&value)?);
                }
                _ => {}
            }
        }
        serde_json::value::to_raw_value(&Client {
            kind: &self.kind,
            sender: &self.sender,
            state_key: self.state_key.as_deref(),
            content: &content,
            event_id: full.then_some(event_id),
            origin_server_ts: full.then_some(self.origin_server_ts),
            room_id: (format == ClientFormat::WithRoomId).then_some(room_id),
            redacts: if full { redacts.as_deref() } else { None },
            unsigned: full.then_some(unsigned),
        })
    }
}

/// The room id that a create event of room version 12 and later gives its room: `!` and the event's hash.
/// Spec: room version 12, Room IDs.
pub fn room_id_of_create(create_event_id: &str) -> String {
    format!("!{}", create_event_id.trim_start_matches('$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = r#"{"type":"m.room.message","sender":"@a:hs1","room_id":"!r:hs1","content":{"body":"hi","n":1},
        "origin_server_ts":5,"depth":3,"hashes":{},"signatures":{},"auth_events":[],"prev_events":[]}"#;

    #[test]
    fn sync_format_has_no_room_id_and_no_federation_members() {
        let event = Pdu::parse(MESSAGE).unwrap();
        let client = event
            .to_client("$e", "!r:hs1", ClientFormat::WithoutRoomId, &Unsigned::default())
            .unwrap();
        assert_eq!(
            client.get(),
            r#"{"type":"m.room.message","sender":"@a:hs1","content":{"body":"hi","n":1},"event_id":"$e","origin_server_ts":5,"unsigned":{}}"#
        );
    }

    #[test]
    fn redacts_is_served_in_both_places() {
        let old = r#"{"type":"m.room.redaction","sender":"@a:hs1","room_id":"!r:hs1","content":{},"redacts":"$x","origin_server_ts":5}"#;
        let new = r#"{"type":"m.room.redaction","sender":"@a:hs1","room_id":"!r:hs1","content":{"redacts":"$x"},"origin_server_ts":5}"#;
        for json in [old, new] {
            let event = Pdu::parse(json).unwrap();
            let client = event
                .to_client("$e", "!r:hs1", ClientFormat::WithRoomId, &Unsigned::default())
                .unwrap();
            let value: Value = serde_json::from_str(client.get()).unwrap();
            assert_eq!(value["redacts"], "$x");
            assert_eq!(value["content"]["redacts"], "$x");
        }
    }
}
