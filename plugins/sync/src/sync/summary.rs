//! Summaries: how many are in a room, and after whom it may be named. Spec: /sync, Room Summary.
//!
//! One change of a member makes every member's client ask for the same numbers, so they are kept for a while.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use tessera_sdk::cache;
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{FromRow, RowError, Rows, Select, Value, select};

use super::draft::Draft;
use super::response::Summary;
use crate::event::{EventRow, STATE, content};

/// Members named where a room has no name. Spec: /sync, `m.heroes`.
const HEROES: usize = 5;
/// How long the numbers are at hand that go with one change.
const KEPT_MS: u32 = 60 * 1000;
/// State that a summary rests on.
const RESTS_ON: [&str; 3] = ["m.room.member", "m.room.name", "m.room.canonical_alias"];

/// What is known of a room's members.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Members {
    joined: i64,
    invited: i64,
    /// It has a name or an alias.
    named: bool,
    /// The first ones, whether they are there, those who are first.
    first: Vec<(bool, String)>,
}

impl Members {
    /// After whom the room is named for one of them.
    fn heroes(&self, user: &str) -> Option<Vec<String>> {
        if self.named {
            return None;
        }
        let those = |there: bool| -> Vec<String> {
            let others =
                self.first.iter().filter(|(present, who)| *present == there && who != user);
            others.take(HEROES).map(|(_, who)| who.clone()).collect()
        };
        // Who has left is named only where nobody else is left.
        Some(those(true)).filter(|heroes| !heroes.is_empty()).or_else(|| Some(those(false)))
    }

    fn summary(&self, user: &str) -> Summary {
        Summary {
            heroes: self.heroes(user),
            joined: Some(self.joined),
            invited: Some(self.invited),
        }
    }
}

/// Which summaries an answer needs.
#[derive(Debug, Default)]
pub(super) struct Summaries {
    /// Rooms to be looked at, with the name under which the answer is kept.
    rooms: BTreeMap<String, Option<String>>,
    /// Those that are at hand.
    known: HashMap<String, Summary>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub summaries: HashMap<String, Summary>,
    /// Member events of heroes, by room; none of those that were at hand.
    pub heroes: HashMap<String, Vec<EventRow>>,
}

impl Summaries {
    /// Notes what a room needs, if it is one that the user is in and anything has changed.
    pub(super) fn want(&mut self, draft: &Draft, user: &str) {
        let changes = draft.deltas.iter().filter(|delta| RESTS_ON.contains(&delta.kind.as_str()));
        let last = changes.map(|delta| delta.position).max();
        if !draft.joined || (!draft.full && last.is_none()) {
            return;
        }
        // Whoever is told the whole room needs the heroes' events, too.
        let key = last.filter(|_| !draft.full).map(|at| format!("summary:{}:{at}", draft.room_id));
        let kept = key.as_deref().and_then(cache::get);
        match kept.and_then(|json| serde_json::from_slice::<Members>(&json).ok()) {
            Some(members) => {
                self.known.insert(draft.room_id.clone(), members.summary(user));
            }
            None => {
                self.rooms.insert(draft.room_id.clone(), key);
            }
        }
    }

    /// Whether nothing is to be asked.
    pub(super) fn none(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Three answers, for [`Summaries::read`].
    pub(super) fn selects(&self) -> [Select; 3] {
        let rooms: Vec<String> = self.rooms.keys().cloned().collect();
        let heroes = i64::try_from(HEROES + 1).unwrap_or(i64::MAX);
        [
            select(
                "SELECT room_id, membership, COUNT(*) FROM rooms_v1_memberships \
                 WHERE room_id IN ($1) AND membership IN ('join', 'invite') GROUP BY room_id, membership",
                params![rooms.clone()],
            ),
            select(
                "SELECT h.present, e.position, e.event_id, e.room_id, e.type, e.state_key, e.sender, e.json, NULL, NULL \
                 FROM (SELECT m.event_id, CASE WHEN m.membership IN ('join', 'invite') THEN 1 ELSE 0 END AS present, \
                 ROW_NUMBER() OVER (PARTITION BY m.room_id ORDER BY \
                 CASE WHEN m.membership IN ('join', 'invite') THEN 1 ELSE 0 END DESC, m.position) AS place \
                 FROM rooms_v1_memberships m WHERE m.room_id IN ($1) AND m.membership <> 'knock') h \
                 CROSS JOIN rooms_v1_events e \
                 WHERE h.place <= $2 AND e.event_id = h.event_id ORDER BY h.present DESC, e.position",
                params![rooms.clone(), heroes],
            ),
            select(
                &format!(
                    "{STATE} WHERE room_id IN ($1) AND type IN ('m.room.name', 'm.room.canonical_alias') AND state_key = ''"
                ),
                params![rooms],
            ),
        ]
    }

    /// Those at hand.
    pub(super) fn known(&self) -> Found {
        Found { summaries: self.known.clone(), heroes: HashMap::new() }
    }

    /// From the answers to [`Summaries::selects`].
    ///
    /// # Errors
    /// A view is not as documented.
    pub(super) fn read(
        &self,
        user: &str,
        mut next: impl FnMut() -> Result<Rows, Error>,
    ) -> Result<Found, Error> {
        let mut rooms: HashMap<String, Members> =
            self.rooms.keys().map(|room| (room.clone(), Members::default())).collect();
        for (room, membership, count) in next()?.all::<(String, String, i64)>()? {
            let members = rooms.entry(room).or_default();
            match membership.as_str() {
                "join" => members.joined = count,
                _ => members.invited = count,
            }
        }
        let mut events: HashMap<String, Vec<EventRow>> = HashMap::new();
        for Hero { present, event } in next()?.all::<Hero>()? {
            let who = event.state_key.clone().unwrap_or_default();
            rooms.entry(event.room_id.clone()).or_default().first.push((present, who));
            events.entry(event.room_id.clone()).or_default().push(event);
        }
        for row in next()?.all::<EventRow>()?.into_iter().filter(names) {
            rooms.entry(row.room_id).or_default().named = true;
        }
        let mut found = self.known();
        for (room, members) in rooms {
            if let Some(Some(key)) = self.rooms.get(&room) {
                let json = serde_json::to_vec(&members).map_err(Error::internal)?;
                cache::put(key, &json, KEPT_MS, &[]);
            }
            let heroes: BTreeSet<String> =
                members.heroes(user).unwrap_or_default().into_iter().collect();
            let mut rows = events.remove(&room).unwrap_or_default();
            rows.retain(|row| row.state_key.as_ref().is_some_and(|who| heroes.contains(who)));
            found.summaries.insert(room.clone(), members.summary(user));
            found.heroes.insert(room, rows);
        }
        Ok(found)
    }
}

/// Whether a state event gives its room a name.
fn names(row: &EventRow) -> bool {
    let field = if row.kind == "m.room.name" { "name" } else { "alias" };
    let content = content(&row.json).unwrap_or_default();
    content.get(field).and_then(|name| name.as_str()).is_some_and(|name| !name.is_empty())
}

/// A member that a room may be named after.
struct Hero {
    /// Joined or invited.
    present: bool,
    event: EventRow,
}

impl FromRow for Hero {
    fn from_row(mut row: Vec<Value>) -> Result<Self, RowError> {
        let event = row.split_off(row.len().min(1));
        let (present,): (i64,) = <_>::from_row(row)?;
        Ok(Self { present: present > 0, event: EventRow::from_row(event)? })
    }
}
