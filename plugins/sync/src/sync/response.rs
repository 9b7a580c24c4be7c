//! The body of a /sync answer.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Events>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_after: Option<Events>,
    /// The same, for who asked by the name of MSC4222.
    #[serde(rename = "org.matrix.msc4222.state_after", skip_serializing_if = "Option::is_none")]
    pub unstable_state_after: Option<Events>,
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
}

#[derive(Debug, Serialize)]
pub(super) struct Invited {
    pub invite_state: Events,
}

#[derive(Debug, Serialize)]
pub(super) struct Knocked {
    pub knock_state: Events,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Rooms {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub join: BTreeMap<String, Room>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub invite: BTreeMap<String, Invited>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub knock: BTreeMap<String, Knocked>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
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
    #[serde(skip_serializing_if = "Rooms::none")]
    pub rooms: Rooms,
    #[serde(skip_serializing_if = "Events::none")]
    pub to_device: Events,
    pub device_lists: DeviceLists,
    pub device_one_time_keys_count: BTreeMap<String, i64>,
    pub device_unused_fallback_key_types: Vec<String>,
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
