//! Which rooms an answer may tell of, and their timelines, before anything else is known of them.

use std::collections::HashMap;

use tessera_sdk::matrix::Error;

use super::ask::Ask;
use super::fill;
use super::read::{Change, Delta, Membership, News};
use crate::event::EventRow;
use crate::filter::Filter;

/// A room with a timeline: joined, or left.
#[derive(Debug)]
pub(super) struct Draft {
    pub room_id: String,
    pub joined: bool,
    /// Everything is new to the client: initial sync, or joined since the token.
    pub full: bool,
    /// Oldest first.
    pub events: Vec<EventRow>,
    /// Older events were left out.
    pub limited: bool,
    pub deltas: Vec<Delta>,
    pub changes: Vec<Change>,
    /// Position of the user's own membership event.
    pub own_position: i64,
}

impl Draft {
    /// Position of the first event, or `end` where there is none.
    pub(super) fn first_position(&self, end: i64) -> i64 {
        self.events.first().map_or(end, |event| event.position)
    }

    /// The user's membership just after a position, as far as the changes since the token tell.
    pub(super) fn membership_at(&self, position: i64) -> &str {
        match self.changes.iter().rev().find(|change| change.position <= position) {
            Some(change) => &change.membership,
            None => self.changes.first().map_or("join", |change| &change.prev_membership),
        }
    }
}

fn group<T>(rows: Vec<T>, room: impl Fn(&T) -> &str) -> HashMap<String, Vec<T>> {
    let mut rooms: HashMap<String, Vec<T>> = HashMap::new();
    for row in rows {
        rooms.entry(room(&row).to_owned()).or_default().push(row);
    }
    rooms
}

fn newly_joined(changes: &[Change]) -> bool {
    changes.iter().any(|c| c.membership == "join" && c.prev_membership != "join")
}

/// Takes memberships, changes, events and deltas out of the news. One storage call, only where a room was joined
/// since the token.
pub(super) fn drafts(ask: &Ask, filter: &Filter, news: &mut News) -> Result<Vec<Draft>, Error> {
    let mut events = group(std::mem::take(&mut news.events), |e| &e.room_id);
    let mut deltas = group(std::mem::take(&mut news.deltas), |d| &d.room_id);
    let mut changes = group(std::mem::take(&mut news.changes), |c| &c.room_id);
    let with_timeline = |m: &&Membership| {
        filter.room.allows(&m.room_id) && matches!(m.membership.as_str(), "join" | "leave" | "ban")
    };
    let new_rooms: Vec<String> = news
        .memberships
        .iter()
        .filter(with_timeline)
        .filter(|m| m.membership == "join" && ask.since.is_some())
        .filter(|m| changes.get(&m.room_id).is_some_and(|changes| newly_joined(changes)))
        .map(|m| m.room_id.clone())
        .collect();
    let limit = filter.room.timeline.limit();
    for room in &new_rooms {
        events.remove(room);
    }
    for event in fill::tails(ask, &new_rooms, limit + 1)? {
        events.entry(event.room_id.clone()).or_default().push(event);
    }

    let mut drafts = Vec::new();
    for membership in news.memberships.iter().filter(with_timeline) {
        let room = &membership.room_id;
        let joined = membership.membership == "join";
        let mut events = events.remove(room).unwrap_or_default();
        let changes = changes.remove(room).unwrap_or_default();
        if !joined && ask.since.is_some() && !changes.iter().any(|c| was_in(&c.prev_membership)) {
            // Never in the room since the token: a declined invite, a ban from outside. They see that, no more.
            events.retain(|event| event.event_id == membership.event_id);
        }
        let (events, limited) = shorten(events, filter);
        let full = ask.since.is_none() || ask.full_state || new_rooms.contains(room);
        drafts.push(Draft {
            room_id: room.clone(),
            joined,
            full,
            limited: limited && !events.is_empty(),
            events,
            deltas: deltas.remove(room).unwrap_or_default(),
            changes,
            own_position: membership.position,
        });
    }
    Ok(drafts)
}

fn was_in(membership: &str) -> bool {
    membership == "join"
}

/// Newest first in, oldest first out: those that the filter lets pass, at most its limit, and whether there were more.
fn shorten(events: Vec<EventRow>, filter: &Filter) -> (Vec<EventRow>, bool) {
    let timeline = &filter.room.timeline;
    let limit = timeline.limit();
    let mut kept: Vec<EventRow> = events
        .into_iter()
        .filter(|e| {
            timeline.allows_room(&e.room_id) && timeline.allows(&e.kind, &e.sender, &e.json)
        })
        .take(limit + 1)
        .collect();
    let limited = kept.len() > limit;
    kept.truncate(limit);
    kept.reverse();
    (kept, limited)
}
