//! What is read of a room before an event's place is decided: one snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use ruma::state_res::Event as _;
use serde_json::Value;
use tessera_sdk::matrix::{Error, server_name};
use tessera_sdk::params;
use tessera_sdk::storage::{self, select};

use crate::core::acl::ServerAcl;
use crate::core::incoming::Incoming;
use crate::core::{StoredEvent, Version};
use crate::store::{RoomRow, auth};

/// Events that others rest on and that are not here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// Named as previous events.
    pub prev_events: Vec<String>,
    /// Named as auth events, or in a state.
    pub auth_events: Vec<String>,
}

/// An event that the event follows.
#[derive(Debug, Clone)]
pub(super) struct Prev {
    /// State group after it.
    pub(super) after: i64,
    /// No event of this server follows it.
    pub(super) unfollowed: bool,
}

/// A redaction that waits for the event.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) event: Arc<StoredEvent>,
    pub(super) json: String,
    pub(super) by_power: bool,
}

/// The event that a redaction is about.
#[derive(Debug)]
pub(super) struct Redacted {
    pub(super) kind: String,
    pub(super) sender: String,
    pub(super) redacted: bool,
    pub(super) rejected: bool,
    pub(super) json: String,
}

/// What is here of an event that is received again.
#[derive(Debug)]
pub(super) struct KnownRow {
    room_id: String,
    /// It has no place.
    pub(super) outlier: bool,
    pub(super) rejected: bool,
    pub(super) redacted_by: Option<String>,
}

impl KnownRow {
    pub(super) fn select(event_id: &str) -> storage::Select {
        select(
            "SELECT room_id, outlier, rejected, redacted_by FROM rooms_events WHERE event_id = $1",
            params![event_id],
        )
    }

    pub(super) fn read(rows: storage::Rows) -> Result<Option<Self>, Error> {
        let row = rows.first::<(String, bool, bool, Option<String>)>()?;
        Ok(row.map(|(room_id, outlier, rejected, redacted_by)| Self {
            room_id,
            outlier,
            rejected,
            redacted_by,
        }))
    }

    /// Where servers choose the ids, one may name another room's event.
    pub(super) fn is_of(&self, room_id: &str) -> bool {
        self.room_id == room_id
    }
}

#[derive(Debug)]
pub(super) struct Look {
    pub(super) room: RoomRow,
    pub(super) known: Option<KnownRow>,
    pub(super) prevs: HashMap<String, Prev>,
    /// The auth events that are here; from version 12 also the create event.
    pub(super) auth: Vec<Arc<StoredEvent>>,
    pub(super) acl: Option<ServerAcl>,
    /// An event follows it already.
    pub(super) followed: bool,
    pub(super) waiting: Vec<Waiting>,
    pub(super) redacted: Option<Redacted>,
}

fn content_of(json: &str) -> Value {
    let mut event: Value = serde_json::from_str(json).unwrap_or_default();
    event.get_mut("content").map(Value::take).unwrap_or_default()
}

/// The rules in a server ACL event.
pub(super) fn acl_of(event: &StoredEvent) -> ServerAcl {
    ServerAcl::of(&event.content_as::<Value>().unwrap_or_default())
}

/// Looks up the room's rules for servers as they are now.
pub(super) fn acl_select(room_id: &str) -> storage::Select {
    select(
        "SELECT e.json FROM rooms_current_state s JOIN rooms_events e ON e.position = s.position
         WHERE s.room_id = $1 AND s.type = 'm.room.server_acl' AND s.state_key = ''",
        params![room_id],
    )
}

/// Whether a server may take part in a room.
///
/// # Errors
/// Storage failed.
pub fn acl_allows(room_id: &str, server: &str) -> Result<bool, Error> {
    let answers = storage::snapshot(&[acl_select(room_id)])?.answers().next();
    let json = answers.map(|rows| rows.first::<(String,)>()).transpose()?.flatten();
    Ok(json.is_none_or(|(json,)| ServerAcl::of(&content_of(&json)).allows(server)))
}

/// Looks up the first redaction that waits for an event and may redact it. The others are no reason to look further.
pub(super) fn waiting_select(room_id: &str, event_id: &str, sender: &str) -> storage::Select {
    let server = format!(":{}", server_name(sender));
    select(
        "SELECT h.event_id, e.json, h.by_power FROM rooms_held_redactions h
         JOIN rooms_events e ON e.event_id = h.event_id
         WHERE h.target = $1 AND h.room_id = $2 AND (h.by_power = TRUE OR
           CASE WHEN length(e.sender) > length($3)
             THEN substr(e.sender, length(e.sender) - length($3) + 1) = $3 ELSE FALSE END)
         ORDER BY e.position LIMIT 10",
        params![event_id, room_id, server],
    )
}

pub(super) fn read_waiting(version: &Version, rows: storage::Rows) -> Result<Vec<Waiting>, Error> {
    let waiting = |(id, json, by_power): (String, String, bool)| {
        let event = Arc::new(auth::parse(version, &id, &json, false)?);
        Ok(Waiting { event, json, by_power })
    };
    rows.all()?.into_iter().map(waiting).collect()
}

impl Waiting {
    /// Whether it may redact an event of this sender. Spec: room version 3, Handling redactions.
    pub(super) fn may(&self, sender: &str) -> bool {
        self.by_power || server_name(self.event.sender().as_str()) == server_name(sender)
    }
}

impl Look {
    pub(super) fn take(
        version: &Version,
        room_id: &str,
        incoming: &Incoming,
    ) -> Result<Self, Error> {
        let event = &incoming.event;
        let prevs: Vec<String> = event.prev_events().map(ToString::to_string).collect();
        let mut auth: Vec<String> = event.auth_events().map(ToString::to_string).collect();
        // From version 12 the create event is read and not named; its id is the room's.
        auth.push(room_id.replacen('!', "$", 1));
        // Another version's place for it may name another event: that says nothing.
        let target = super::redacts(version, event).unwrap_or_default();
        let sender = event.sender().as_str();
        let mut answers = storage::snapshot(&[
            RoomRow::select(room_id),
            KnownRow::select(event.id()),
            select(
                "SELECT event_id, state_after, rejected, soft_failed FROM rooms_events
                 WHERE event_id IN ($1) AND room_id = $2 AND outlier = FALSE",
                params![prevs, room_id],
            ),
            select(
                "SELECT event_id, json, rejected FROM rooms_events WHERE event_id IN ($1)",
                params![auth],
            ),
            acl_select(room_id),
            select(
                "SELECT follower FROM rooms_followed WHERE event_id = $1 LIMIT 1",
                params![event.id()],
            ),
            waiting_select(room_id, event.id(), sender),
            select(
                "SELECT type, sender, redacted_by, rejected, json FROM rooms_events
                 WHERE event_id = $1 AND room_id = $2",
                params![target, room_id],
            ),
        ])?
        .answers();
        let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
        let room = RoomRow::read(room_id, next()?)?
            .ok_or_else(|| Error::not_found("there is no such room here"))?;
        let known = KnownRow::read(next()?)?;
        let mut prevs = HashMap::new();
        for (id, after, rejected, soft) in next()?.all::<(String, Option<i64>, bool, bool)>()? {
            if let Some(after) = after {
                prevs.insert(id, Prev { after, unfollowed: rejected || soft });
            }
        }
        let mut auth = Vec::new();
        for (id, json, rejected) in next()?.all::<(String, String, bool)>()? {
            auth.push(Arc::new(auth::parse(&room.version, &id, &json, rejected)?));
        }
        let acl = next()?.first::<(String,)>()?.map(|(json,)| ServerAcl::of(&content_of(&json)));
        let followed = next()?.first::<(String,)>()?.is_some();
        let waiting = read_waiting(version, next()?)?;
        type Row = (String, String, Option<String>, bool, String);
        let redacted = next()?.first::<Row>()?.map(|(kind, sender, by, rejected, json)| Redacted {
            kind,
            sender,
            redacted: by.is_some(),
            rejected,
            json,
        });
        Ok(Self { room, known, prevs, auth, acl, followed, waiting, redacted })
    }

    /// It has its place. So has the create event of a room that was joined through another server: nothing is before it.
    pub(super) fn is_duplicate(&self, event: &StoredEvent) -> bool {
        let begins = event.kind() == "m.room.create" && event.prev_events().next().is_none();
        self.known.as_ref().is_some_and(|known| !known.outlier || (begins && !known.rejected))
    }

    /// What is to be fetched first. With a state given, what the event follows need not be here.
    pub(super) fn missing(&self, incoming: &Incoming, given: bool) -> Option<Missing> {
        let mut missing = Missing::default();
        for id in incoming.event.prev_events().map(ToString::to_string) {
            if !given && !self.prevs.contains_key(&id) {
                missing.prev_events.push(id);
            }
        }
        for id in incoming.event.auth_events() {
            if !self.auth.iter().any(|known| known.event_id() == id) {
                missing.auth_events.push(id.to_string());
            }
        }
        (missing != Missing::default()).then_some(missing)
    }
}
