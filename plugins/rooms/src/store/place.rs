//! What an event from elsewhere writes, wherever in the graph its place is.

use std::sync::Arc;

use ruma::state_res::Event as _;
use serde::Serialize;
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::Batch;

use super::late::{self, Late};
use super::new_event::NewEvent;
use super::room::RoomRow;
use super::state_at::Chain;
use super::states::{Change, Key, Plan};
use super::write::{Id, MAX_CHAIN, Marks, Rows, announce};
use crate::core::{Extremity, StoredEvent};

/// A piece of the current state that changes.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Type and state key.
    pub key: Key,
    /// The event in force from now on, and its position; no position: it is the event that is placed.
    pub new: Option<(Arc<StoredEvent>, Option<i64>)>,
    /// The event that was in force.
    pub old: Option<Arc<StoredEvent>>,
    /// Stripped state for the user of an invite or knock that is in force again.
    pub stripped: Option<String>,
}

/// What the room's state is afterwards.
#[derive(Debug, Clone)]
pub enum Current {
    /// As before.
    Same,
    /// The state after the event.
    After,
    /// What came of a resolution.
    Resolved {
        /// The state that is nearest to it.
        near: Near,
        /// What makes it of that.
        changes: Vec<Change>,
    },
}

/// A state that a resolved one is stored as a difference to. It is one that an event has, so that the resolved one
/// can go without a trace when it is out of date.
#[derive(Debug, Clone)]
pub enum Near {
    /// The state after the event.
    After,
    /// A stored group and its chain.
    Stored(i64, Chain),
}

/// A redaction that waited for the event that is placed.
#[derive(Debug, Clone)]
pub struct Released {
    /// As it is announced.
    pub redaction: NewEvent,
    /// Who may see it otherwise than by the order of arrival.
    pub late: Vec<Late>,
}

/// An event and its place.
#[derive(Debug)]
pub struct Placement<'a> {
    /// The room as read.
    pub room: &'a RoomRow,
    /// The event.
    pub new: &'a NewEvent,
    /// What becomes of it.
    pub marks: Marks,
    /// The state before it, and the chain of its group.
    pub before: (Plan, Chain),
    /// The state of the room.
    pub current: Current,
    /// What that changes.
    pub changes: Vec<Changed>,
    /// Forward extremities afterwards.
    pub extremities: Vec<Extremity>,
    /// It was known without its place.
    pub was_outlier: bool,
    /// Its past does not allow it, yet it is not marked as rejected: the state after it is the one before it.
    pub is_void: bool,
    /// Redactions that come into force with it.
    pub released: Vec<Released>,
    /// Who may see the event otherwise than by the order of arrival.
    pub late: Vec<Late>,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// So many changes stand in one message of `rooms.resolved`: each has at most 4 KiB of JSON.
const TOLD: usize = 50;
/// A difference of more entries is stored as a whole state: differences are read entry by entry, whole states are compared by
/// the database.
const LARGE: usize = 1_000;

/// What consumers of `rooms.resolved` get (see docs/views.md).
#[derive(Serialize)]
struct Resolved<'a> {
    room_id: &'a str,
    /// The event that brought it about, and what is to be added to the message's position for that of the changes.
    event_id: &'a str,
    offset: u32,
    changes: Vec<Resolution<'a>>,
}

#[derive(Serialize)]
struct Resolution<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    state_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_event_id: Option<&'a str>,
}

/// A state group, stored or about to be.
#[derive(Clone)]
struct Group {
    id: Id,
    base: Id,
    chain: i64,
    /// Of a stored one.
    links: Option<Vec<i64>>,
}

impl Group {
    fn stored(group: i64, chain: &Chain) -> Self {
        let length = i64::try_from(chain.links.len()).unwrap_or(i64::MAX) - 1;
        Self {
            id: Id::Known(group),
            base: Id::Known(chain.base),
            chain: length,
            links: Some(chain.links.clone()),
        }
    }
}

/// Full copies are made by the database: the entries never come here.
const COPY: &str = "INSERT INTO rooms_state_entries (group_id, type, state_key, event_id)
     SELECT g.group_id, n.type, n.state_key, n.event_id FROM rooms_state_groups g
     CROSS JOIN (SELECT e.type AS type, e.state_key AS state_key, e.event_id AS event_id,
         row_number() OVER (PARTITION BY e.type, e.state_key ORDER BY e.group_id DESC) AS place
       FROM rooms_state_entries e WHERE e.group_id IN ($2)) n
     WHERE g.group_id = $1 AND n.place = 1 AND n.event_id <> ''";

#[derive(Default)]
struct Groups {
    rows: Vec<Vec<tessera_sdk::storage::Value>>,
    copies: Vec<(Id, Vec<i64>)>,
    entries: Vec<Vec<tessera_sdk::storage::Value>>,
}

impl Groups {
    /// A new group: what another holds, changed.
    fn grow(&mut self, room_id: &str, id: Id, below: &Group, changes: &[Change]) -> Group {
        for ((kind, key), event_id) in changes {
            let event_id = event_id.as_deref().unwrap_or_default();
            self.entries.push(params![id, kind.as_str(), key.as_str(), event_id]);
        }
        match &below.links {
            Some(links) if below.chain >= MAX_CHAIN || changes.len() > LARGE => {
                self.rows.push(params![id, room_id, tessera_sdk::storage::Value::Null, id]);
                self.copies.push((id, links.clone()));
                Group { id, base: id, chain: 0, links: None }
            }
            _ => {
                self.rows.push(params![id, room_id, below.id, below.base]);
                Group { id, base: below.base, chain: below.chain + 1, links: None }
            }
        }
    }

    fn statements(self, batch: Batch) -> Batch {
        let mut batch = batch.run_many(
            "INSERT INTO rooms_state_groups (group_id, room_id, prev_group, base) VALUES ($1, $2, $3, $4)",
            self.rows,
        );
        for (id, links) in self.copies {
            batch = batch.run(COPY, params![id, links]);
        }
        batch.run_many(
            "INSERT INTO rooms_state_entries (group_id, type, state_key, event_id) VALUES ($1, $2, $3, $4)
             ON CONFLICT (group_id, type, state_key) DO UPDATE SET event_id = excluded.event_id",
            self.entries,
        )
    }
}

impl Placement<'_> {
    /// Whether a group is made that nothing may ever rest on: then the clean-up is to look.
    pub fn leaves_idle(&self) -> bool {
        matches!(&self.current, Current::Resolved { changes, .. } if !changes.is_empty())
    }

    /// The batch. Its first statement guards the room.
    ///
    /// # Errors
    /// None that another server can cause.
    pub fn write(&self) -> Result<Batch, Error> {
        let (room, event) = (self.room, &self.new.event);
        let room_id = room.room_id.as_str();
        let mut batch = Batch::new();
        let (mut groups, mut rows) = (Groups::default(), Rows::default());

        let mut before = Group::stored(self.before.0.group, &self.before.1);
        if !self.before.0.changes.is_empty() {
            let id = Id::New(batch.take_positions(1));
            before = groups.grow(room_id, id, &before, &self.before.0.changes);
        }
        let offset = batch.take_positions(1);
        let place = Id::New(offset);
        let after = match event.state_key() {
            Some(key) if !self.marks.rejected && !self.is_void => {
                let change = ((event.kind(), key.to_owned()), Some(event.id().to_owned()));
                groups.grow(room_id, place, &before, &[change])
            }
            _ => before.clone(),
        };
        let mut idle = None;
        let current = match &self.current {
            Current::Same => Group {
                id: Id::Known(room.group),
                base: Id::Known(room.base),
                chain: room.chain,
                links: None,
            },
            Current::After => after.clone(),
            Current::Resolved { near, changes } => {
                let near = match near {
                    Near::After => after.clone(),
                    Near::Stored(group, chain) => Group::stored(*group, chain),
                };
                if changes.is_empty() {
                    near
                } else {
                    let id = Id::New(batch.take_positions(1));
                    idle = Some(id);
                    groups.grow(room_id, id, &near, changes)
                }
            }
        };
        let extremities = serde_json::to_string(&self.extremities).map_err(Error::internal)?;
        batch = batch
            .run(
                "UPDATE rooms_rooms SET revision = revision + 1, extremities = $3,
                   depth = CASE WHEN depth < $4 THEN $4 ELSE depth END,
                   state_group = $5, state_base = $6, state_chain = $7
                 WHERE room_id = $1 AND revision = $2",
                params![
                    room_id,
                    room.revision,
                    extremities,
                    self.new.extremity.2,
                    current.id,
                    current.base,
                    current.chain,
                ],
            )
            .expect(1);
        if self.was_outlier {
            batch = batch.run(
                "DELETE FROM rooms_events WHERE event_id = $1 AND room_id = $2 AND outlier = TRUE",
                params![event.id(), room_id],
            );
        }
        batch = groups.statements(batch);
        rows.event(room, place, self.new, (before.id, after.id), self.marks);
        batch = self.current_state(batch, place, &mut rows);
        rows.about.moves(room_id, Id::Known(room.group), current.id);
        batch = rows.statements(batch);
        if self.was_outlier {
            batch = batch.run(
                "UPDATE rooms_current_state SET position = $3 WHERE room_id = $1 AND event_id = $2",
                params![room_id, event.id(), place],
            );
        }
        // The group before it is used now; the one of the room as it was may have been one of these.
        batch = batch
            .run("DELETE FROM rooms_idle_groups WHERE group_id = $1", params![self.before.0.group]);
        if let Some(id) = idle {
            batch = batch.run(
                "INSERT INTO rooms_idle_groups (group_id, room_id, created_ms) VALUES ($1, $2, $3)",
                params![id, room_id, self.now_ms],
            );
        }
        if self.marks.shown() {
            batch = late::write(batch, room_id, place, &self.late);
            batch = announce(batch, room, offset, self.new)?;
        }
        batch = self.resolved(batch, offset)?;
        for released in &self.released {
            let offset = batch.take_positions(1);
            batch = batch
                .run(
                    "UPDATE rooms_events SET position = $2, stream = TRUE WHERE event_id = $1",
                    params![released.redaction.event.id(), Id::New(offset)],
                )
                .run(
                    "DELETE FROM rooms_held_redactions WHERE event_id = $1",
                    params![released.redaction.event.id()],
                );
            batch = late::write(batch, room_id, Id::New(offset), &released.late);
            batch = announce(batch, room, offset, &released.redaction)?;
        }
        let told = self.marks.shown() || !self.changes.is_empty();
        Ok(if told { batch.wake(format!("room:{room_id}")) } else { batch })
    }

    /// Tells of what a resolution changed beside what the event says itself.
    fn resolved(&self, mut batch: Batch, offset: u32) -> Result<Batch, Error> {
        let (room_id, own) = (self.room.room_id.as_str(), self.new.event.id());
        let told = self.marks.shown();
        let others = self.changes.iter().filter(|changed| {
            !told || changed.new.as_ref().is_none_or(|(event, _)| event.id() != own)
        });
        let others: Vec<&Changed> = others.collect();
        for some in others.chunks(TOLD) {
            let changes = some.iter().map(|changed| Resolution {
                kind: &changed.key.0,
                state_key: &changed.key.1,
                event_id: changed.new.as_ref().map(|(event, _)| event.id()),
                prev_event_id: changed.old.as_ref().map(|event| event.id()),
            });
            let message = Resolved { room_id, event_id: own, offset, changes: changes.collect() };
            let payload = serde_json::to_string(&message).map_err(Error::internal)?;
            batch = batch.emit("rooms.resolved", room_id, payload);
        }
        Ok(batch)
    }

    fn current_state(&self, mut batch: Batch, place: Id, rows: &mut Rows) -> Batch {
        let room_id = self.room.room_id.as_str();
        let mut void = Vec::new();
        for changed in &self.changes {
            let (kind, key) = (changed.key.0.as_str(), changed.key.1.as_str());
            let new = changed.new.as_ref().map(|(event, _)| event);
            match &changed.new {
                Some((event, position)) => {
                    let at = position.map_or(place, Id::Known);
                    rows.current.push(params![room_id, kind, key, event.id(), at]);
                }
                None => {
                    batch = batch.run(
                        "DELETE FROM rooms_current_state WHERE room_id = $1 AND type = $2 AND state_key = $3",
                        params![room_id, kind, key],
                    );
                }
            }
            rows.change(self.room, place, (kind, key), new, changed.old.as_ref());
            if let Some(new) = new {
                void.push(params![room_id, kind, key, new.sender().as_str()]);
            }
            if kind == "m.room.member" {
                let own = new.is_some_and(|event| event.id() == self.new.event.id());
                let stripped = if own { &self.new.stripped } else { &changed.stripped };
                let stripped = stripped.as_deref();
                rows.membership(self.room, place, key, (new, changed.old.as_ref()), stripped);
                batch = batch.wake(format!("user:{key}"));
            }
        }
        // What others left to be sent here later was for a state that is no more (MSC4140).
        batch.run_many(
            "DELETE FROM rooms_delayed
             WHERE room_id = $1 AND type = $2 AND state_key = $3 AND user_id <> $4 AND revision >= 0",
            void,
        )
    }
}
