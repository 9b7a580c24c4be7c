//! An event as the auth rules and state resolution read it.

use std::borrow::Cow;

use ruma::events::TimelineEventType;
use ruma::state_res::Event;
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UInt,
    UserId,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// An event with its id. Cheap to share behind an `Arc`, never changed.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    event_id: OwnedEventId,
    room_id: Option<OwnedRoomId>,
    sender: OwnedUserId,
    kind: TimelineEventType,
    state_key: Option<String>,
    content: Box<RawValue>,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    redacts: Option<OwnedEventId>,
    depth: u64,
    rejected: bool,
    hash: Option<String>,
}

/// What is no event.
#[derive(Debug, thiserror::Error)]
#[error("no event: {0}")]
pub struct NotAnEvent(String);

#[derive(Deserialize)]
#[serde(untagged)]
enum Reference<'a> {
    Id(#[serde(borrow)] Cow<'a, str>),
    WithHash(#[serde(borrow)] Cow<'a, str>, IgnoredAny),
}

impl Reference<'_> {
    fn id(self) -> Result<OwnedEventId, NotAnEvent> {
        let (Self::Id(id) | Self::WithHash(id, _)) = self;
        EventId::parse(id.as_ref()).map_err(|error| NotAnEvent(error.to_string()))
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    sender: Cow<'a, str>,
    #[serde(borrow, default)]
    room_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    state_key: Option<Cow<'a, str>>,
    content: Box<RawValue>,
    origin_server_ts: UInt,
    #[serde(borrow, default)]
    prev_events: Vec<Reference<'a>>,
    #[serde(borrow, default)]
    auth_events: Vec<Reference<'a>>,
    #[serde(borrow, default)]
    redacts: Option<Cow<'a, str>>,
    #[serde(default)]
    depth: Option<serde_json::Number>,
}

fn wrong(error: impl std::fmt::Display) -> NotAnEvent {
    NotAnEvent(error.to_string())
}

impl StoredEvent {
    /// Reads an event in federation format.
    ///
    /// # Errors
    /// A member is missing or malformed; cannot happen to what was accepted before.
    pub fn parse(event_id: &str, json: &str, rejected: bool) -> Result<Self, NotAnEvent> {
        let wire: Wire<'_> = serde_json::from_str(json).map_err(wrong)?;
        Ok(Self {
            event_id: EventId::parse(event_id).map_err(wrong)?,
            room_id: wire
                .room_id
                .map(|id| RoomId::parse(id.as_ref()))
                .transpose()
                .map_err(wrong)?,
            sender: UserId::parse(wire.sender.as_ref()).map_err(wrong)?,
            kind: TimelineEventType::from(wire.kind.as_ref()),
            state_key: wire.state_key.map(Cow::into_owned),
            content: wire.content,
            origin_server_ts: MilliSecondsSinceUnixEpoch(wire.origin_server_ts),
            prev_events: wire
                .prev_events
                .into_iter()
                .map(Reference::id)
                .collect::<Result<_, _>>()?,
            auth_events: wire
                .auth_events
                .into_iter()
                .map(Reference::id)
                .collect::<Result<_, _>>()?,
            redacts: wire
                .redacts
                .map(|id| EventId::parse(id.as_ref()))
                .transpose()
                .map_err(wrong)?,
            depth: wire.depth.and_then(|depth| depth.as_u64()).unwrap_or_default(),
            rejected,
            hash: None,
        })
    }

    /// Notes its reference hash (unpadded standard base64), which events of room versions 1 and 2 quote.
    #[must_use]
    pub fn with_hash(mut self, hash: String) -> Self {
        self.hash = Some(hash);
        self
    }

    /// Its reference hash, where it was noted.
    pub fn hash(&self) -> Option<&str> {
        self.hash.as_deref()
    }

    /// Its depth in the graph as its sender says.
    pub fn depth(&self) -> u64 {
        self.depth
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.event_id.as_str()
    }

    /// Its type.
    pub fn kind(&self) -> String {
        self.kind.to_string()
    }

    /// In client format, without `unsigned`. `room_id` is needed for the create event of room version 12, which carries none.
    pub fn to_client(&self, room_id: &str) -> String {
        #[derive(serde::Serialize)]
        struct Client<'a> {
            #[serde(rename = "type")]
            kind: &'a TimelineEventType,
            #[serde(skip_serializing_if = "Option::is_none")]
            state_key: Option<&'a str>,
            sender: &'a UserId,
            room_id: &'a str,
            event_id: &'a EventId,
            origin_server_ts: MilliSecondsSinceUnixEpoch,
            content: &'a RawValue,
        }
        let client = Client {
            kind: &self.kind,
            state_key: self.state_key.as_deref(),
            sender: &self.sender,
            room_id,
            event_id: &self.event_id,
            origin_server_ts: self.origin_server_ts,
            content: &self.content,
        };
        // Texts, a number and JSON that was read as such: it cannot fail.
        serde_json::to_string(&client).unwrap_or_default()
    }

    /// The content as one of the caller's types; `None` if it does not fit.
    pub fn content_as<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_str(self.content.get()).ok()
    }

    /// `membership` in the content of a member event.
    pub fn membership(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Content {
            membership: String,
        }
        self.content_as::<Content>().map(|content| content.membership)
    }
}

impl Event for StoredEvent {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.room_id.as_deref()
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.origin_server_ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        self.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}
