//! Which rooms an answer may tell of, and their timelines, before anything else is known of them.

use std::collections::{BTreeMap, HashMap};

use super::ask::Ask;
use super::queries;
use super::read::{Change, Membership, News};
use crate::event::EventRow;
use crate::filter::Filter;
use crate::ignored;
use crate::state::Delta;
use crate::visibility::Visibility;

/// A room with a timeline: joined, or left.
#[derive(Debug)]
pub(super) struct Draft {
    pub room_id: String,
    pub joined: bool,
    /// Everything is new to the client: initial sync, or joined since the token.
    pub full: bool,
    /// Joined since the token.
    pub fresh: bool,
    /// Oldest first.
    pub events: Vec<EventRow>,
    /// Older events were left out.
    pub limited: bool,
    pub deltas: Vec<Delta>,
    pub changes: Vec<Change>,
    /// The last position that belongs to the client's view: of the leave, or the horizon.
    pub end: i64,
    /// The user's own membership event, where the membership has changed.
    pub own_event: Option<String>,
    /// What the user may see of a room joined since the token. Its events were restricted to that.
    pub view: Option<Visibility>,
}

impl Draft {
    /// Position of the first event; just past the end where there is none.
    pub(super) fn first_position(&self) -> i64 {
        self.events.first().map_or(self.end.saturating_add(1), |event| event.position)
    }

    /// Where the user's view ends in a room that they are no longer in.
    pub(super) fn left_at(&self) -> i64 {
        let left = self.changes.iter().rev().find(|change| change.prev_membership == "join");
        left.map_or(self.end, |change| change.position)
    }

    /// The user's membership just after a position, as far as the changes since the token tell.
    pub(super) fn membership_at(&self, position: i64) -> &str {
        match self.changes.iter().rev().find(|change| change.position <= position) {
            Some(change) => &change.membership,
            None => self.changes.first().map_or("join", |change| &change.prev_membership),
        }
    }

    /// Whether the user's memberships and the room's visibility are needed to tell what they may see.
    pub(super) fn needs_view(&self) -> bool {
        self.view.is_none()
            && (self.full
                || !self.changes.is_empty()
                || self.events.iter().any(|event| event.late.is_some()))
    }
}

fn group<T>(rows: Vec<T>, room: impl Fn(&T) -> &str) -> HashMap<String, Vec<T>> {
    let mut rooms: HashMap<String, Vec<T>> = HashMap::new();
    for row in rows {
        match rooms.get_mut(room(&row)) {
            Some(rows) => rows.push(row),
            None => {
                rooms.insert(room(&row).to_owned(), vec![row]);
            }
        }
    }
    rooms
}

/// Whether a room is one that the user is in. Memberships that are not read have not changed.
fn joined(membership: Option<&Membership>) -> bool {
    membership.is_none_or(|row| row.membership == "join")
}

/// Rooms to tell of: those of the memberships read, and joined ones where anything has happened.
fn rooms(ask: &Ask, filter: &Filter, news: &mut News) -> BTreeMap<String, Option<Membership>> {
    let mut rooms = BTreeMap::new();
    let rest = std::mem::take(&mut news.memberships);
    for membership in rest {
        match membership.membership.as_str() {
            "join" | "leave" | "ban" => {
                rooms.insert(membership.room_id.clone(), Some(membership));
            }
            _ => news.memberships.push(membership),
        }
    }
    let since = news.events.iter().map(|event| &event.room_id);
    let happened = since
        .chain(news.deltas.iter().map(|delta| &delta.room_id))
        .chain(news.account_data.iter().map(|data| &data.0).filter(|room| !room.is_empty()))
        .chain(news.receipts.iter().map(|receipt| &receipt.0))
        .chain(news.typing.iter().map(|typing| &typing.0))
        .chain(news.counts.iter().filter(|count| news.tells(ask, count.4)).map(|count| &count.0));
    for room in happened {
        if !rooms.contains_key(room) {
            rooms.insert(room.clone(), None);
        }
    }
    rooms.retain(|room, _| filter.room.allows(room) && !news.absent.contains(room));
    if let Some(part) = &ask.part {
        rooms.retain(|room, membership| part.has(room, joined(membership.as_ref())));
    }
    rooms
}

/// Takes memberships of joined and left rooms, changes, events and deltas out of the news.
pub(super) fn drafts(ask: &Ask, filter: &Filter, news: &mut News) -> Vec<Draft> {
    let rooms = rooms(ask, filter, news);
    let mut events = group(std::mem::take(&mut news.events), |e| &e.room_id);
    let mut fresh = group(std::mem::take(&mut news.fresh), |e| &e.room_id);
    let mut deltas = group(std::mem::take(&mut news.deltas), |d| &d.room_id);
    let mut changes = group(std::mem::take(&mut news.changes), |c| &c.room_id);
    let mut drafts = Vec::with_capacity(rooms.len());
    for (room_id, membership) in rooms {
        let joined = joined(membership.as_ref());
        let mut draft = Draft {
            joined,
            full: ask.wants_all(),
            fresh: false,
            events: Vec::new(),
            limited: false,
            deltas: deltas.remove(&room_id).unwrap_or_default(),
            changes: changes.remove(&room_id).unwrap_or_default(),
            end: news.horizon,
            own_event: membership.as_ref().map(|m| m.event_id.clone()),
            view: None,
            room_id,
        };
        let mut events = events.remove(&draft.room_id).unwrap_or_default();
        let mut looks = queries::looks(filter);
        if joined && draft.changes.iter().any(Change::enters) {
            draft.fresh = true;
            draft.full = true;
            match fresh.remove(&draft.room_id) {
                Some(mut newest) => {
                    // A room joined twice since the token comes twice.
                    newest.dedup_by_key(|event| event.position);
                    events = newest;
                    looks = queries::fresh_looks(filter);
                    draft.view = news.views.remove(&draft.room_id);
                }
                // Left again above the horizon: what was before the token is for /messages.
                None => draft.limited = true,
            }
        }
        if let Some(membership) = membership.filter(|m| m.membership != "join") {
            leave(ask, &mut draft, &mut events, &membership);
        }
        let unseen = events.len() >= looks;
        events.retain(|event| !ignored::hides(&news.ignored, event));
        if let Some(view) = &draft.view {
            restrict(&mut events, view, draft.own_event.as_deref(), &draft.deltas);
        }
        let (events, cut) = shorten(events, filter);
        draft.events = events;
        draft.limited |= cut || unseen;
        if draft.fresh && ask.since.is_some() {
            // Of a room that is new to the client only one whose beginning is shown has no gap.
            draft.limited |= draft.events.first().is_none_or(|event| event.kind != "m.room.create");
        }
        drafts.push(draft);
    }
    drafts
}

/// Takes away events that the user may not see. Who is in the room may see its state: a state event in force stays, or neither the
/// timeline nor the state before it would tell of it.
pub(super) fn restrict(
    events: &mut Vec<EventRow>,
    view: &Visibility,
    own: Option<&str>,
    deltas: &[Delta],
) {
    let joined = view.memberships.last().is_some_and(|(_, membership)| membership == "join");
    let in_force = |event: &EventRow| {
        let id = Some(event.event_id.as_str());
        event.current == Some(true) || deltas.iter().any(|delta| delta.event_id.as_deref() == id)
    };
    events.retain(|event| {
        view.sees_event(event) || own == Some(&event.event_id) || (joined && in_force(event))
    });
}

/// A room that the user is no longer in ends for them where they left it, whatever came afterwards: an invite that they
/// declined, a ban.
fn leave(ask: &Ask, draft: &mut Draft, events: &mut Vec<EventRow>, membership: &Membership) {
    draft.end = membership.position;
    // There are more only where the user is back above the horizon.
    events.retain(|event| event.position <= membership.position);
    if ask.since.is_none() {
        return;
    }
    match draft.changes.iter().rev().find(|change| change.prev_membership == "join") {
        // Joined and left since the token: the room is new to the client.
        Some(_) if draft.changes.iter().any(Change::enters) => draft.full = true,
        Some(left) => {
            draft.deltas.retain(|d| d.position <= left.position || d.event_id == draft.own_event);
        }
        None => {
            // Never in the room since the token: they see what became of them, no more.
            draft.full = false;
            draft.deltas.retain(|delta| delta.event_id == draft.own_event);
            events.retain(|event| event.event_id == membership.event_id);
        }
    }
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
