//! The body of a /sync answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tessera_sdk::http::{Answer, Result as Outcome};
use tessera_sdk::matrix::Error;

use crate::devices::DeviceLists;

/// A list of events as `{"events": […]}`.
#[derive(Debug, Default, Serialize)]
pub(super) struct Events {
    pub events: Vec<Box<RawValue>>,
}

impl Events {
    fn none(&self) -> bool {
        self.events.is_empty()
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Timeline {
    pub events: Vec<Box<RawValue>>,
    pub limited: bool,
    pub prev_batch: String,
}

#[derive(Debug, Default, Clone, Serialize, PartialEq)]
pub(super) struct Summary {
    #[serde(rename = "m.heroes", skip_serializing_if = "Option::is_none")]
    pub heroes: Option<Vec<String>>,
    #[serde(rename = "m.joined_member_count", skip_serializing_if = "Option::is_none")]
    pub joined: Option<i64>,
    #[serde(rename = "m.invited_member_count", skip_serializing_if = "Option::is_none")]
    pub invited: Option<i64>,
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(super) struct Counts {
    pub notification_count: i64,
    pub highlight_count: i64,
}

/// A joined room, or one that was left (which has the first four members only).
#[derive(Debug, Serialize)]
pub(super) struct Room {
    pub timeline: Timeline,
    #[serde(skip_serializing_if = "Events::none")]
    pub account_data: Events,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<Events>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_notifications: Option<Counts>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unread_thread_notifications: BTreeMap<String, Counts>,
    // State stands last: more of it may be written behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Events>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_after: Option<Events>,
    /// The same, for who asked by the name of MSC4222.
    #[serde(rename = "org.matrix.msc4222.state_after", skip_serializing_if = "Option::is_none")]
    pub unstable_state_after: Option<Events>,
    /// State events that are text already, with commas between; they stand behind the others.
    #[serde(skip)]
    pub more_state: String,
    /// Where the state goes on that this answer has no room for.
    #[serde(skip)]
    pub open: Option<Open>,
}

/// Where the members of a large room go on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Open {
    /// The last one that was looked at.
    pub member: String,
    /// The state is told as it is just before this position.
    pub at: i64,
    /// Whether any state of the room was told.
    pub some: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Invited {
    pub invite_state: Events,
}

#[derive(Debug, Serialize)]
pub(super) struct Knocked {
    pub knock_state: Events,
}

/// Rooms that the user is in or was in are written by hand.
#[derive(Debug, Default, Serialize)]
pub(super) struct Rooms {
    #[serde(skip)]
    pub join: BTreeMap<String, Room>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub invite: BTreeMap<String, Invited>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub knock: BTreeMap<String, Knocked>,
    #[serde(skip)]
    pub leave: BTreeMap<String, Room>,
}

impl Rooms {
    fn none(&self) -> bool {
        self.join.is_empty()
            && self.invite.is_empty()
            && self.knock.is_empty()
            && self.leave.is_empty()
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Response {
    pub next_batch: String,
    #[serde(skip_serializing_if = "Events::none")]
    pub account_data: Events,
    #[serde(skip_serializing_if = "Events::none")]
    pub presence: Events,
    #[serde(skip_serializing_if = "Events::none")]
    pub to_device: Events,
    pub device_lists: DeviceLists,
    pub device_one_time_keys_count: BTreeMap<String, i64>,
    pub device_unused_fallback_key_types: Vec<String>,
    /// Stands last: more of them may be written behind.
    #[serde(skip)]
    pub rooms: Rooms,
}

/// Takes closing brackets off.
fn reopen(out: &mut Vec<u8>, closing: &str) {
    debug_assert!(out.ends_with(closing.as_bytes()));
    out.truncate(out.len().saturating_sub(closing.len()));
}

fn append(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), Error> {
    serde_json::to_writer(out, value).map_err(Error::internal)
}

/// About as many bytes as rooms take when they are written: a text that grows is held twice for a moment.
fn weigh(rooms: &BTreeMap<String, Room>) -> usize {
    let events = |events: &[Box<RawValue>]| -> usize {
        events.iter().map(|event| event.get().len().saturating_add(1)).sum()
    };
    let one = |room: &Room| {
        let state = [&room.state, &room.state_after, &room.unstable_state_after];
        let state: usize = state.into_iter().flatten().map(|state| events(&state.events)).sum();
        1024 + events(&room.timeline.events) + state + room.more_state.len()
    };
    rooms.values().map(one).sum()
}

/// Writes rooms as members of an object that has been begun. `some`: whether there are any before. Gives where the last one goes on, if it
/// does: nothing may follow then but what it lacks. Rooms go as they are written, so that they are not held twice.
pub(super) fn write_rooms(
    out: &mut Vec<u8>,
    rooms: BTreeMap<String, Room>,
    some: &mut bool,
) -> Result<Option<(String, Open)>, Error> {
    out.reserve(weigh(&rooms));
    for (id, room) in rooms {
        if std::mem::replace(some, true) {
            out.push(b',');
        }
        append(out, &id)?;
        out.push(b':');
        append(out, &room)?;
        if room.more_state.is_empty() && room.open.is_none() {
            continue;
        }
        reopen(out, END_OF_STATE);
        if !room.more_state.is_empty() {
            if !out.ends_with(b"[") {
                out.push(b',');
            }
            out.extend_from_slice(room.more_state.as_bytes());
        }
        if let Some(open) = room.open {
            let open = Open { some: !out.ends_with(b"["), ..open };
            return Ok(Some((id, open)));
        }
        out.extend_from_slice(END_OF_STATE.as_bytes());
    }
    Ok(None)
}

/// What a room ends with whose state was left open.
pub(super) const END_OF_STATE: &str = "]}}";

impl Response {
    /// All up to the rooms that the user is or was in: the next is the name of a member of `rooms`.
    pub(super) fn begin(&self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        append(&mut out, self)?;
        reopen(&mut out, "}");
        out.extend_from_slice(b",\"rooms\":");
        append(&mut out, &self.rooms)?;
        reopen(&mut out, "}");
        if !out.ends_with(b"{") {
            out.push(b',');
        }
        Ok(out)
    }

    /// The whole answer.
    pub(super) fn text(self) -> Result<Vec<u8>, Error> {
        if self.rooms.none() {
            return serde_json::to_vec(&self).map_err(Error::internal);
        }
        let mut out = self.begin()?;
        for (name, rooms) in [("join", self.rooms.join), ("leave", self.rooms.leave)] {
            if rooms.is_empty() {
                continue;
            }
            append(&mut out, &name)?;
            out.extend_from_slice(b":{");
            write_rooms(&mut out, rooms, &mut false)?;
            out.extend_from_slice(b"},");
        }
        if out.ends_with(b",") {
            out.pop();
        }
        out.extend_from_slice(b"}}");
        Ok(out)
    }

    /// The whole answer, to be sent.
    pub(super) fn answer(self) -> Outcome {
        Ok(Answer::raw_json(200, self.text()?))
    }
}

impl Response {
    /// Events of rooms that the user is or was in, each with its room.
    pub(super) fn events(&mut self) -> impl Iterator<Item = (Option<&str>, &mut Box<RawValue>)> {
        let rooms = self.rooms.join.iter_mut().chain(&mut self.rooms.leave);
        rooms.flat_map(|(id, room)| {
            let state = [&mut room.state, &mut room.state_after, &mut room.unstable_state_after];
            let state = state.into_iter().flatten().flat_map(|state| &mut state.events);
            room.timeline
                .events
                .iter_mut()
                .chain(state)
                .map(move |event| (Some(id.as_str()), event))
        })
    }

    /// Whether it tells nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.account_data.none()
            && self.presence.none()
            && self.rooms.none()
            && self.to_device.none()
            && self.device_lists.none()
    }
}
