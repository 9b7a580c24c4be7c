//! What an accepted chain of events writes, as one batch.

use std::sync::Arc;

use ruma::state_res::Event as _;
use serde::Serialize;
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, IntoValue, Value, position};

use super::about::About;
use super::auth;
use super::new_event::{NewEvent, Profile};
use super::room::RoomRow;
use crate::core::{Extremity, StoredEvent};

/// A new full copy of the state is made when a chain of differences is this long: reading a state takes at most
/// so many small groups, and a copy is paid for by as many state events.
pub(super) const MAX_CHAIN: i64 = 50;

/// A row number that may be one of this commit's positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Known(i64),
    New(u32),
}

impl IntoValue for Id {
    fn into_value(self) -> Value {
        match self {
            Self::Known(id) => Value::Integer(id),
            Self::New(offset) => position(offset),
        }
    }
}

/// What consumers of `rooms.events` get (see docs/views.md).
#[derive(Serialize)]
struct Message<'a> {
    event_id: &'a str,
    room_id: &'a str,
    /// To be added to the message's position.
    offset: u32,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    sender: &'a str,
}

/// The rows of a chain, table by table, so that each table is one statement.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    events: Vec<Vec<Value>>,
    pub(crate) current: Vec<Vec<Value>>,
    pub(crate) deltas: Vec<Vec<Value>>,
    pub(crate) groups: Vec<Vec<Value>>,
    pub(crate) entries: Vec<Vec<Value>>,
    memberships: Vec<Vec<Value>>,
    changes: Vec<Vec<Value>>,
    relations: Vec<Vec<Value>>,
    edges: Vec<Vec<Value>>,
    pub(crate) about: About,
}

/// What is noted of an event beside itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// Refused by the auth rules.
    pub rejected: bool,
    /// Allowed by its own past, not by the room's present.
    pub soft_failed: bool,
    /// Not shown for another reason: a redaction that is not in force.
    pub held: bool,
}

impl Marks {
    /// Part of the timeline here.
    pub fn shown(self) -> bool {
        self == Self::default()
    }
}

struct Groups {
    group: Id,
    base: Id,
    chain: i64,
}

/// Adds to a batch what a chain of accepted events writes, the room's row included.
///
/// The events follow one another and, together, the room as read (`new_room`: there was none). The room's row is the first
/// statement of the batch, so that a conflict of index 0 is a lost race for the room.
///
/// # Errors
/// None that a client can cause.
pub fn write(
    room: &RoomRow,
    new_room: Option<&NewRoom>,
    events: &[NewEvent],
) -> Result<Batch, Error> {
    let mut batch = Batch::new();
    let count = u32::try_from(events.len()).map_err(Error::internal)?;
    let first = batch.take_positions(count);
    let last_state = events.iter().rposition(|new| new.event.state_key().is_some());
    let mut groups =
        Groups { group: Id::Known(room.group), base: Id::Known(room.base), chain: room.chain };
    let mut rows = Rows::default();
    if let Some(new) = new_room {
        rows.about.begin(&room.room_id, new.published);
    }
    let mut copy = None;
    let mut extremities = room.extremities.clone();

    for ((offset, new), number) in (first..).zip(events).zip(0..) {
        let place = Id::New(offset);
        let before = groups.group;
        if let Some(key) = new.event.state_key() {
            let full = new_room.is_some() && number == 0;
            let long = groups.chain >= MAX_CHAIN && Some(number) == last_state;
            rows.state(room, place, new, key);
            if full || long {
                rows.groups.push(params![place, room.room_id.as_str(), Value::Null, place]);
                groups = Groups { group: place, base: place, chain: 0 };
            } else {
                rows.groups.push(params![place, room.room_id.as_str(), before, groups.base]);
                groups = Groups { group: place, base: groups.base, chain: groups.chain + 1 };
            }
            if long {
                copy = Some(place);
            } else {
                rows.entries.push(params![place, new.event.kind(), key, new.event.id()]);
            }
        }
        rows.event(room, place, new, (before, groups.group), Marks::default());
        let named: Vec<_> = new.event.prev_events().map(|id| id.as_str()).collect();
        extremities.retain(|Extremity(id, ..)| !named.contains(&id.as_str()));
        extremities.push(new.extremity.clone());
    }

    let before = new_room.map_or(Id::Known(room.group), |_| groups.group);
    rows.about.moves(&room.room_id, before, groups.group);
    let extremities = serde_json::to_string(&extremities).map_err(Error::internal)?;
    let depth = events.iter().map(|new| new.extremity.2).max().unwrap_or_default();
    batch = match new_room {
        Some(new) => batch.run(
            "INSERT INTO rooms_rooms (room_id, version, creator, position, revision, extremities, depth,
               state_group, state_base, state_chain, published, created_ms, auth_edges)
             VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9, $10, $11, TRUE)",
            params![
                room.room_id.as_str(),
                room.version.name(),
                new.creator.as_str(),
                Id::New(first),
                extremities,
                depth,
                groups.group,
                groups.base,
                groups.chain,
                new.published,
                new.now_ms,
            ],
        ),
        None => batch
            .run(
                "UPDATE rooms_rooms SET revision = revision + 1, extremities = $3, depth = $4,
                   state_group = $5, state_base = $6, state_chain = $7
                 WHERE room_id = $1 AND revision = $2",
                params![
                    room.room_id.as_str(),
                    room.revision,
                    extremities,
                    depth,
                    groups.group,
                    groups.base,
                    groups.chain,
                ],
            )
            .expect(1),
    };
    batch = rows.statements(batch);
    if let Some(place) = copy {
        batch = batch.run(
            "INSERT INTO rooms_state_entries (group_id, type, state_key, event_id)
             SELECT g.group_id, s.type, s.state_key, s.event_id FROM rooms_state_groups g
             JOIN rooms_current_state s ON s.room_id = g.room_id WHERE g.group_id = $1",
            params![place],
        );
    }
    if room.extremities.len() > 1 {
        // The state may have come of a resolution; from now on an event rests on it.
        batch = batch.run("DELETE FROM rooms_idle_groups WHERE group_id = $1", params![room.group]);
    }
    for (offset, new) in (first..).zip(events) {
        batch = announce(batch, room, offset, new)?;
    }
    Ok(batch.wake(format!("room:{}", room.room_id)))
}

/// What is known of a room that begins.
#[derive(Debug, Clone)]
pub struct NewRoom {
    /// Who makes it.
    pub creator: String,
    /// Listed in the public directory.
    pub published: bool,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
}

pub(crate) fn announce(
    mut batch: Batch,
    room: &RoomRow,
    offset: u32,
    new: &NewEvent,
) -> Result<Batch, Error> {
    let kind = new.event.kind();
    let message = Message {
        event_id: new.event.id(),
        room_id: &room.room_id,
        offset,
        kind: &kind,
        state_key: new.event.state_key(),
        sender: new.event.sender().as_str(),
    };
    let payload = serde_json::to_string(&message).map_err(Error::internal)?;
    batch = batch.emit("rooms.events", &room.room_id, payload);
    if let Some(text) = &new.text {
        batch = batch.text("messages", new.event.id(), &room.room_id, Some(text.clone()));
    }
    if let ("m.room.member", Some(user)) = (kind.as_str(), new.event.state_key()) {
        batch = batch.wake(format!("user:{user}"));
    }
    Ok(batch)
}

impl Rows {
    pub(crate) fn event(
        &mut self,
        room: &RoomRow,
        place: Id,
        new: &NewEvent,
        (before, after): (Id, Id),
        marks: Marks,
    ) {
        let event = &new.event;
        if !marks.rejected {
            self.edges.extend(auth::edges(event));
        }
        self.events.push(params![
            place,
            event.id(),
            room.room_id.as_str(),
            event.kind(),
            event.state_key(),
            event.sender().as_str(),
            u64::from(event.origin_server_ts().get()),
            new.extremity.2,
            before,
            after,
            new.json.as_str(),
            marks.rejected,
            marks.soft_failed,
            marks.shown(),
        ]);
        if let (true, Some(relation)) = (marks.shown(), &new.relation) {
            self.relations.push(params![
                event.id(),
                place,
                room.room_id.as_str(),
                relation.event_id.as_str(),
                relation.rel_type.as_str(),
                relation.key.as_str(),
                event.kind(),
                event.sender().as_str(),
            ]);
        }
    }

    fn state(&mut self, room: &RoomRow, place: Id, new: &NewEvent, key: &str) {
        let (event, kind) = (&new.event, new.event.kind());
        self.current.push(params![room.room_id.as_str(), kind.as_str(), key, event.id(), place]);
        self.change(room, place, (&kind, key), Some(event), new.replaces.as_ref());
        if kind == "m.room.member" {
            self.membership(
                room,
                place,
                key,
                (Some(event), new.replaces.as_ref()),
                new.stripped.as_deref(),
            );
        }
    }

    /// A change of the current state at a position.
    pub(crate) fn change(
        &mut self,
        room: &RoomRow,
        place: Id,
        (kind, key): (&str, &str),
        new: Option<&Arc<StoredEvent>>,
        old: Option<&Arc<StoredEvent>>,
    ) {
        self.about.change(&room.room_id, (kind, key), new.map(Arc::as_ref), old.is_some());
        let (new, old) = (new.map(|event| event.id()), old.map(|event| event.id()));
        self.deltas.push(params![place, room.room_id.as_str(), kind, key, new, old]);
    }

    /// A change of a membership. Without a new event the user has left by the one that was in force.
    pub(crate) fn membership(
        &mut self,
        room: &RoomRow,
        place: Id,
        user: &str,
        (new, old): (Option<&Arc<StoredEvent>>, Option<&Arc<StoredEvent>>),
        stripped: Option<&str>,
    ) {
        let Some(event) = new.or(old) else {
            return;
        };
        let room_id = room.room_id.as_str();
        let membership = match new {
            Some(event) => event.membership().unwrap_or_default(),
            None => "leave".to_owned(),
        };
        let before = old.and_then(|old| old.membership()).unwrap_or_default();
        self.about.membership(room_id, user, &before, &membership);
        let profile: Profile = event.content_as().unwrap_or_default();
        self.memberships.push(params![
            room_id,
            user,
            membership.as_str(),
            event.id(),
            event.sender().as_str(),
            place,
            stripped,
            profile.displayname,
            profile.avatar_url,
        ]);
        self.changes.push(params![place, room_id, user, membership.as_str(), before, event.id()]);
    }

    pub(crate) fn statements(self, batch: Batch) -> Batch {
        self.about
            .statements(batch)
            .run_many(
                "INSERT INTO rooms_events (position, event_id, room_id, type, state_key, sender, origin_ts, depth,
                   state_before, state_after, json, rejected, soft_failed, stream)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
                self.events,
            )
            .run_many(
                "INSERT INTO rooms_current_state (room_id, type, state_key, event_id, position)
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (room_id, type, state_key)
                 DO UPDATE SET event_id = excluded.event_id, position = excluded.position",
                self.current,
            )
            .run_many(
                "INSERT INTO rooms_state_deltas (position, room_id, type, state_key, event_id, prev_event_id)
                 VALUES ($1, $2, $3, $4, $5, $6)",
                self.deltas,
            )
            .run_many(
                "INSERT INTO rooms_state_groups (group_id, room_id, prev_group, base) VALUES ($1, $2, $3, $4)",
                self.groups,
            )
            .run_many(
                "INSERT INTO rooms_state_entries (group_id, type, state_key, event_id) VALUES ($1, $2, $3, $4)",
                self.entries,
            )
            .run_many(
                "INSERT INTO rooms_memberships (room_id, user_id, membership, event_id, sender, position,
                   stripped_state, display_name, avatar_url, forgotten)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, FALSE) ON CONFLICT (room_id, user_id)
                 DO UPDATE SET membership = excluded.membership, event_id = excluded.event_id,
                   sender = excluded.sender, position = excluded.position, stripped_state = excluded.stripped_state,
                   display_name = excluded.display_name, avatar_url = excluded.avatar_url,
                   forgotten = (rooms_memberships.forgotten = TRUE AND excluded.membership IN ('leave', 'ban'))",
                self.memberships,
            )
            .run_many(
                "INSERT INTO rooms_membership_changes (position, room_id, user_id, membership, prev_membership, event_id)
                 VALUES ($1, $2, $3, $4, $5, $6)",
                self.changes,
            )
            .run_many(
                "INSERT INTO rooms_relations (event_id, position, room_id, relates_to, rel_type, agg_key, type, sender)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                self.relations,
            )
            .run_many(auth::INSERT_EDGE, self.edges)
    }
}
