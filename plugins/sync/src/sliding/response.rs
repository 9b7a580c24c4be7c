//! The body of an answer, in both forms.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::devices::DeviceLists;

/// A range of a list. MSC3575; MSC4186 has none.
#[derive(Debug, Serialize)]
pub(super) struct Op {
    pub op: &'static str,
    pub range: (u64, u64),
    pub room_ids: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct List {
    pub count: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<Op>,
}

#[derive(Debug, Serialize)]
pub(super) struct Hero {
    pub user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub displayname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

/// A room. Of what has another name in each form one is filled.
#[derive(Debug, Default, Serialize)]
pub(super) struct Room {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bump_stamp: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub membership: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<String>,
    /// `null`: it has none any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heroes: Option<Vec<Hero>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_dm: Option<bool>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub initial: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub expanded_timeline: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unstable_expanded_timeline: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required_state: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_live: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invited_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notification_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highlight_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stripped_state: Option<Vec<Box<RawValue>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite_state: Option<Vec<Box<RawValue>>>,
}

impl Room {
    /// Whether it tells a client nothing that knows the room. Unread counts aside.
    pub(super) fn is_silent(&self) -> bool {
        !self.initial
            && self.timeline.is_empty()
            && self.required_state.is_empty()
            && self.name.is_none()
            && self.avatar.is_none()
            && self.heroes.is_none()
            && self.is_dm.is_none()
            && self.joined_count.is_none()
            && self.stripped_state.is_none()
            && self.invite_state.is_none()
            && self.limited != Some(true)
    }
}

#[derive(Debug, Serialize)]
pub(super) struct ToDevice {
    pub next_batch: String,
    pub events: Vec<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
pub(super) struct E2ee {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_lists: Option<DeviceLists>,
    pub device_one_time_keys_count: BTreeMap<String, i64>,
    pub device_unused_fallback_key_types: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct AccountData {
    pub global: Vec<Box<RawValue>>,
    pub rooms: BTreeMap<String, Vec<Box<RawValue>>>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Ephemeral {
    pub rooms: BTreeMap<String, Box<RawValue>>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Extensions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_device: Option<ToDevice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e2ee: Option<E2ee>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_data: Option<AccountData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipts: Option<Ephemeral>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typing: Option<Ephemeral>,
}

impl Extensions {
    /// Whether they tell nothing, the device's own keys aside.
    fn none(&self) -> bool {
        let lists = self.e2ee.as_ref().and_then(|e2ee| e2ee.device_lists.as_ref());
        self.to_device.as_ref().is_none_or(|to_device| to_device.events.is_empty())
            && lists.is_none_or(DeviceLists::none)
            && self.account_data.as_ref().is_none_or(|d| d.global.is_empty() && d.rooms.is_empty())
            && self.receipts.as_ref().is_none_or(|receipts| receipts.rooms.is_empty())
            && self.typing.as_ref().is_none_or(|typing| typing.rooms.is_empty())
    }
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Response {
    pub pos: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub txn_id: Option<String>,
    pub lists: BTreeMap<String, List>,
    pub rooms: BTreeMap<String, Room>,
    pub extensions: Extensions,
}

impl Response {
    /// Whether it is not worth waking a client for.
    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.extensions.none()
    }

    /// Events of rooms, each with its room.
    pub(super) fn events(&mut self) -> impl Iterator<Item = (Option<&str>, &mut Box<RawValue>)> {
        self.rooms.iter_mut().flat_map(|(id, room)| {
            let events = room.timeline.iter_mut().chain(&mut room.required_state);
            events.map(move |event| (Some(id.as_str()), event))
        })
    }
}
