//! Summaries: how many are in a room, and after whom it may be named. Spec: /sync, Room Summary.
//!
//! One change of a member makes every member's client ask for the same numbers, so they are kept for a while.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use tessera_sdk::cache;
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Rows, Select, select};

use super::draft::Draft;
use super::response::Summary;
use crate::event::{EventRow, STATE, content};
use crate::members::{self, First, HEROES};

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

    /// Four answers, for [`Summaries::read`].
    pub(super) fn selects(&self, user: &str) -> [Select; 4] {
        let rooms: Vec<String> = self.rooms.keys().cloned().collect();
        let [counts, others] = members::select_counts(user, &rooms);
        [
            counts,
            others,
            members::select_first(user, &rooms, false),
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
        for (room, (joined, invited)) in members::read_counts(&mut next)? {
            let members = rooms.entry(room).or_default();
            (members.joined, members.invited) = (joined, invited);
        }
        let mut first = members::read_first(next()?)?;
        let (mut named, mut emptied) = (BTreeSet::new(), BTreeSet::new());
        for row in next()?.all::<EventRow>()? {
            let list = if names(&row) { &mut named } else { &mut emptied };
            list.insert(row.room_id);
        }
        let emptied: Vec<String> = emptied.difference(&named).cloned().collect();
        if !emptied.is_empty() {
            // Their name was taken away.
            let more = storage::snapshot(&[members::select_first(user, &emptied, true)])?;
            for rows in more.answers() {
                first.extend(members::read_first(rows)?);
            }
        }
        let mut events: HashMap<String, Vec<EventRow>> = HashMap::new();
        for (room, list) in first {
            let members = rooms.entry(room.clone()).or_default();
            let who = |first: &First| first.event.state_key.clone().unwrap_or_default();
            members.first = list.iter().map(|first| (first.present, who(first))).collect();
            events.insert(room, list.into_iter().map(|first| first.event).collect());
        }
        for room in named {
            rooms.entry(room).or_default().named = true;
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
