//! Rooms as an answer tells of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tessera_sdk::matrix::Error;

use super::ask::Ask;
use super::details::Details;
use super::fill::{Filled, Plan};
use super::lazy::{Members, Sending};
use super::overview::Overview;
use super::response::{Hero, Room};
use super::scope::Look;
use crate::event::{EventRow, Extra, Writer, content};
use crate::ignored;
use crate::state::{self, Key, Undone};
use crate::token::Token;
use crate::visibility::Visibility;

const MEMBER: &str = "m.room.member";

/// A room before it is known what its events need beside themselves.
#[derive(Debug)]
pub(super) struct Draft {
    pub look: Look,
    /// Oldest first.
    pub events: Vec<EventRow>,
    /// Older events were left out.
    limited: bool,
    view: Option<Visibility>,
    /// State to tell: the new events, and none for what was removed.
    state: BTreeMap<Key, Option<EventRow>>,
    /// As it is at the end, where it is told or has changed.
    name: Option<Option<String>>,
    avatar: Option<Option<String>>,
    /// Members came, went or changed.
    members_changed: bool,
    /// It has no name.
    unnamed: bool,
    bump: Option<i64>,
    counts: (i64, i64),
    /// Members that come with the timeline, and those that the client has already.
    lazy: Option<Members>,
}

fn field(row: Option<&EventRow>, name: &str) -> Result<Option<String>, Error> {
    let Some(row) = row else { return Ok(None) };
    let content = content(&row.json)?;
    let text = content.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    Ok(text.map(str::to_owned))
}

fn key(kind: &str, state_key: &str) -> Key {
    (kind.to_owned(), state_key.to_owned())
}

/// What is known of a room.
pub(super) fn draft(
    look: Look,
    ask: &Ask,
    overview: &Overview,
    details: &mut Details,
) -> Result<Draft, Error> {
    let room = look.row.room_id.clone();
    let view = details.views.remove(&room);
    let mut events = details.events.remove(&room).unwrap_or_default();
    let limit = if look.stranger() { 1 } else { look.within.config.limit };
    let limited = events.len() > limit;
    events.truncate(limit);
    events.retain(|event| {
        !ignored::hides(&overview.ignored, event)
            && view.as_ref().is_none_or(|view| view.sees_event(event))
    });
    events.reverse();
    if look.stranger() {
        events.retain(|event| event.event_id == look.row.event_id);
    }

    let config = &look.within.config;
    let lazy = (config.lazy() && !look.outside() && !look.stranger())
        .then(|| Members::of(&ask.key(), &room, ask.pos().filter(|_| look.told.is_some())));
    let changes = details.changes.remove(&room).unwrap_or_default();
    let changed = |wanted: &Key| -> Option<&Undone> {
        let of = |c: &&Undone| c.delta.kind == wanted.0 && c.delta.state_key == wanted.1;
        changes.iter().rev().find(of)
    };
    let (name_key, avatar_key) = (key("m.room.name", ""), key("m.room.avatar", ""));
    let mut state: BTreeMap<Key, Option<EventRow>> = BTreeMap::new();
    let (mut name, mut avatar) = (None, None);
    let mut unnamed = false;
    if look.whole_state() {
        let current = details.state.remove(&room).unwrap_or_default();
        let undone = details.undone.remove(&room).unwrap_or_default();
        let whole = state::rewound(current, &undone);
        if look.told.is_none() {
            let called = field(whole.get(&name_key), "name")?;
            unnamed = called.is_none();
            name = called.map(Some);
            avatar = field(whole.get(&avatar_key), "url")?.map(Some);
        }
        let new = |key: &Key| look.before.as_ref().is_none_or(|old| !old.wants(&key.0, &key.1));
        let wanted = whole.into_iter().filter(|(key, _)| config.wants(&key.0, &key.1) && new(key));
        state.extend(wanted.map(|(key, row)| (key, Some(row))));
    }
    let mut members_changed = look.told.is_none();
    for change in &changes {
        let key = (change.delta.kind.clone(), change.delta.state_key.clone());
        members_changed |= key.0 == MEMBER;
        // Without a gap a lazy client can keep up a list of all members that it has.
        let member = key.0 == MEMBER && lazy.is_some() && !limited;
        if member || config.wants(&key.0, &key.1) {
            state.insert(key, change.replaced.clone());
        }
    }
    if look.told.is_some() {
        let current = details.names.remove(&room);
        match changed(&name_key) {
            Some(change) => name = Some(field(change.replaced.as_ref(), "name")?),
            None => unnamed = field(current.as_ref(), "name")?.is_none(),
        }
        unnamed |= name == Some(None);
        if let Some(change) = changed(&avatar_key) {
            avatar = Some(field(change.replaced.as_ref(), "url")?);
        }
    }
    let told_name = matches!(name, Some(None));
    unnamed &= (members_changed || told_name) && look.joined();
    let bump = match (look.joined(), look.told) {
        (true, None) => Some(details.bumps.remove(&room).unwrap_or(look.row.position)),
        (true, Some(_)) => details.bumps.remove(&room),
        (false, _) => Some(look.row.position),
    };
    Ok(Draft {
        events,
        limited,
        view,
        state,
        name,
        avatar,
        members_changed,
        unnamed,
        bump: bump.map(|bump| bump.max(1)),
        counts: details.counts.remove(&room).unwrap_or_default(),
        lazy,
        look,
    })
}

impl Draft {
    /// Adds what this room lacks.
    pub(super) fn plan<'a>(&'a self, plan: &mut Plan<'a>) {
        let room = &self.look.row.room_id;
        if self.lazy.is_some() {
            let targets = self.events.iter().filter(|event| event.kind == MEMBER);
            let targets = targets.filter_map(|event| event.state_key.clone());
            let speakers: BTreeSet<String> =
                self.events.iter().map(|event| event.sender.clone()).chain(targets).collect();
            if !speakers.is_empty() && self.look.joined() {
                plan.wants.members.insert(room.clone(), speakers);
            } else if !speakers.is_empty() {
                plan.wants.members_at.insert(room.clone(), (speakers, self.look.end));
            }
        }
        if self.members_changed && self.look.joined() {
            plan.counted.insert(room.clone());
        }
        if self.unnamed {
            plan.unnamed.insert(room.clone());
        }
        plan.replacing.extend(self.events.iter().filter(|event| event.state_key.is_some()));
        let joined = self.look.joined();
        // What relates to an event may have come after a leave.
        plan.wants.aggregated.extend(
            self.events
                .iter()
                .filter(|e| e.redacted_by.is_some() || (joined && e.related == Some(true))),
        );
    }

    fn membership_at(&self, overview: &Overview, event: &EventRow) -> String {
        if let Some(view) = &self.view {
            return view.membership_after(event).to_owned();
        }
        let position = event.position;
        let mut changes = overview.changes.iter().filter(|c| c.room_id == self.look.row.room_id);
        let last = changes.clone().rfind(|change| change.position <= position);
        let membership = last.map(|change| &change.membership);
        membership.or(changes.next().map(|change| &change.before)).map_or("join", |m| m).to_owned()
    }

    fn timeline(
        &self,
        overview: &Overview,
        filled: &mut Filled,
        writer: &Writer<'_>,
    ) -> Result<Vec<Box<RawValue>>, Error> {
        let write = |event: &EventRow| {
            let replaced = filled.replaced.get(&event.event_id);
            let replaced = replaced
                .map(|row| Ok::<_, Error>((row.event_id.clone(), content(&row.json)?)))
                .transpose()?;
            let extra = filled.given.extras.remove(&event.event_id).unwrap_or_default();
            let membership = Some(self.membership_at(overview, event));
            writer.write(event, Extra { replaced, membership, ..extra })
        };
        self.events.iter().map(write).collect()
    }

    /// Writes the room. Members that go out are noted in `lazy`, for [`Members::sent`].
    pub(super) fn write(
        mut self,
        ask: &Ask,
        overview: &Overview,
        filled: &mut Filled,
        writer: &Writer<'_>,
        lazy: &mut Sending,
    ) -> Result<Room, Error> {
        let id = self.look.row.room_id.clone();
        let known = self.look.told;
        let row = &self.look.row;
        let mut room = Room {
            bump_stamp: self.bump,
            membership: row.membership.clone(),
            lists: self.look.within.lists.clone(),
            initial: known.is_none(),
            ..Room::default()
        };
        let direct = overview.direct.contains(&id);
        room.is_dm = (self.look.direct_changed || (direct && known.is_none())).then_some(direct);
        if self.look.outside() {
            let text = row.stripped.as_deref().unwrap_or("[]");
            let stripped = Some(serde_json::from_str(text).map_err(Error::internal)?);
            if ask.stable {
                room.stripped_state = stripped;
            } else {
                room.invite_state = stripped;
            }
            return Ok(room);
        }

        room.timeline = self.timeline(overview, filled, writer)?;
        let since = ask.pos().map(|pos| pos.position);
        let live = |event: &&EventRow| since.is_some_and(|since| event.position > since);
        room.num_live = Some(self.events.iter().filter(live).count());
        room.limited = Some(self.limited);
        let first = self.events.first().map(|event| event.position);
        let first = first.unwrap_or(self.look.end.saturating_add(1));
        room.prev_batch = Some(Token(first - 1).to_string());
        let expanded = self.look.expanded && known.is_some_and(|told| first <= told);
        if ask.stable {
            room.expanded_timeline = expanded;
        } else {
            room.unstable_expanded_timeline = expanded;
        }

        if let Some(members) = self.lazy.take() {
            let rows = filled.given.members.remove(&id).unwrap_or_default();
            for row in rows {
                let user = row.state_key.clone().unwrap_or_default();
                if !members.has(&user, row.position) {
                    self.state.entry(key(MEMBER, &user)).or_insert(Some(row));
                }
            }
            let sent = self.state.iter().filter(|((kind, _), _)| kind == MEMBER);
            let sent =
                sent.filter_map(|((_, user), row)| Some((user.clone(), row.as_ref()?.position)));
            lazy.insert(id.clone(), (members, sent.collect()));
        }
        for ((kind, state_key), row) in &self.state {
            match row {
                Some(row) => room.required_state.push(writer.write(row, Extra::default())?),
                // MSC4186: `StateStub`. The older form knows of none.
                None if ask.stable => {
                    let stub = json!({ "type": kind, "state_key": state_key });
                    room.required_state.push(to_raw_value(&stub).map_err(Error::internal)?);
                }
                None => {}
            }
        }
        room.name = self.name;
        room.avatar = self.avatar;
        if let Some((joined, invited)) = filled.counts.remove(&id) {
            room.joined_count = Some(joined);
            room.invited_count = Some(invited);
        }
        if self.unnamed {
            let heroes = filled.heroes.remove(&id).unwrap_or_default().into_iter();
            let heroes = heroes.map(|hero| Hero {
                user_id: hero.user,
                displayname: hero.name,
                avatar_url: hero.avatar,
            });
            room.heroes = Some(heroes.collect());
        }
        if self.look.joined() && !ask.stable {
            room.notification_count = Some(self.counts.0);
            room.highlight_count = Some(self.counts.1);
        }
        Ok(room)
    }
}
