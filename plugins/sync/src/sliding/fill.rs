//! The third read: what the events found need beside themselves. One storage call for all rooms, or none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, FromRow, Rows, Select, select};

use super::ask::Ask;
use super::details::Receipt;
use crate::aggregate;
use crate::event::{COLUMNS, EventRow, Extra, STATE, TRANSACTION, Writer};
use crate::members::{self, First, HEROES};
use crate::near::{Moved, Movements};
use crate::receipts;
use crate::state::{MEMBERS_AT_ROOMS, select_members_at};

/// A member named where a room has no name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hero {
    pub user: String,
    pub name: Option<String>,
    pub avatar: Option<String>,
}

/// What is missing.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// Members of whom timelines speak, by room.
    pub members: BTreeMap<String, BTreeSet<String>>,
    /// The same for rooms that the user is no longer in, and where their view ends.
    pub members_at: BTreeMap<String, (BTreeSet<String>, i64)>,
    /// Rooms whose members are counted.
    pub counted: BTreeSet<String>,
    /// Rooms without a name.
    pub unnamed: BTreeSet<String>,
    /// State events shown in timelines.
    pub replacing: Vec<&'a EventRow>,
    /// Events that were redacted or have others relating to them.
    pub aggregated: Vec<&'a EventRow>,
    /// Rooms that get their receipts for the first time, and the events that are shown of them.
    pub receipts: BTreeMap<String, BTreeSet<String>>,
    /// Rooms that get them later than everything else: the newest.
    pub late_receipts: Vec<String>,
    /// Rooms where somebody came or went.
    pub movements: Movements,
    /// Users whose threads and edits are not told of.
    pub ignored: BTreeSet<String>,
}

/// What the plan asked for.
#[derive(Debug, Default)]
pub(super) struct Filled {
    /// Member events, by room.
    pub members: HashMap<String, Vec<EventRow>>,
    /// Joined and invited, by room.
    pub counts: HashMap<String, (i64, i64)>,
    pub heroes: HashMap<String, Vec<Hero>>,
    /// What state events replaced, by their id.
    pub replaced: HashMap<String, EventRow>,
    /// Redactions and aggregations, by event.
    pub extras: HashMap<String, Extra>,
    pub receipts: Vec<Receipt>,
    pub moved: Moved,
}

fn list(set: &BTreeSet<String>) -> Vec<String> {
    set.iter().cloned().collect()
}

fn keys<T>(map: &BTreeMap<String, T>) -> Vec<String> {
    map.keys().cloned().collect()
}

impl Plan<'_> {
    fn is_empty(&self) -> bool {
        self.members.is_empty()
            && self.members_at.is_empty()
            && self.late_receipts.is_empty()
            && self.counted.is_empty()
            && self.unnamed.is_empty()
            && self.replacing.is_empty()
            && self.aggregated.is_empty()
            && self.receipts.is_empty()
            && self.movements.none()
    }

    fn selects(&self, ask: &Ask, since: i64, horizon: i64) -> Vec<Select> {
        let device = ask.device.as_deref().unwrap_or("");
        let members: BTreeSet<String> = self.members.values().flatten().cloned().collect();
        let shown: BTreeSet<String> = self.receipts.values().flatten().cloned().collect();
        let positions: Vec<i64> = self.replacing.iter().map(|event| event.position).collect();
        let ids: Vec<String> = self.replacing.iter().map(|event| event.event_id.clone()).collect();
        let [counts, others] = members::select_counts(&ask.user, &list(&self.counted));
        let mut selects = vec![
            select(
                &format!(
                    "{STATE} WHERE room_id IN ($1) AND type = 'm.room.member' AND state_key IN ($2)"
                ),
                params![keys(&self.members), list(&members)],
            ),
            counts,
            others,
            members::select_first(&ask.user, &list(&self.unnamed), true),
            select(
                &format!(
                    "SELECT d.event_id, {COLUMNS} FROM rooms_v1_state_deltas d CROSS JOIN rooms_v1_events e \
                     {TRANSACTION} WHERE d.position IN ($3) AND d.event_id IN ($4) AND e.event_id = d.prev_event_id"
                ),
                params![&ask.user, device, positions, ids],
            ),
            select(
                "SELECT r.room_id, r.user_id, r.type, r.thread_id, r.event_id, r.ts, r.position \
                 FROM presence_v1_receipts r WHERE r.room_id IN ($1) AND (r.user_id = $2 OR r.event_id IN ($3))",
                params![keys(&self.receipts), &ask.user, list(&shown)],
            ),
        ];
        if !self.late_receipts.is_empty() {
            selects.push(receipts::newest(&ask.user, 0, receipts::of(&self.late_receipts)));
        }
        for (room, (members, end)) in self.members_at.iter().take(MEMBERS_AT_ROOMS) {
            let device = ask.device.as_deref();
            selects.push(select_members_at(&ask.user, device, room, members, *end));
        }
        if !self.movements.none() {
            selects.extend(self.movements.selects(&ask.user, since, horizon));
        }
        if !self.aggregated.is_empty() {
            selects.extend(aggregate::selects(
                &ask.user,
                ask.device.as_deref(),
                &self.aggregated,
                horizon,
                &self.ignored,
            ));
        }
        selects
    }

    /// Reads what is planned.
    ///
    /// # Errors
    /// The database does not answer, or a view is not as documented.
    pub(super) fn fill(
        &self,
        ask: &Ask,
        writer: &Writer<'_>,
        since: i64,
        horizon: i64,
    ) -> Result<Filled, Error> {
        let mut filled = Filled::default();
        if self.is_empty() {
            return Ok(filled);
        }
        let mut answers = storage::snapshot(&self.selects(ask, since, horizon))?.answers();
        let mut next = || -> Result<Rows, Error> {
            answers.next().ok_or_else(|| Error::internal("an answer is missing"))
        };
        for row in next()?.all::<EventRow>()? {
            let wanted = self.members.get(&row.room_id);
            if wanted.is_some_and(|users| users.contains(row.state_key.as_deref().unwrap_or(""))) {
                filled.members.entry(row.room_id.clone()).or_default().push(row);
            }
        }
        for room in &self.counted {
            filled.counts.insert(room.clone(), (0, 0));
        }
        filled.counts.extend(members::read_counts(&mut next)?);
        for (room, first) in members::read_first(next()?)? {
            let others: Vec<First> = first
                .into_iter()
                .filter(|first| first.event.state_key.as_deref() != Some(&ask.user))
                .collect();
            // Those who went are named only where nobody else is there.
            let there = others.iter().any(|first| first.present);
            let heroes = others.into_iter().filter(|first| first.present == there).take(HEROES);
            let hero = |first: First| Hero {
                user: first.event.state_key.unwrap_or_default(),
                name: first.name,
                avatar: first.avatar,
            };
            filled.heroes.insert(room, heroes.map(hero).collect());
        }
        for mut row in next()?.rows {
            let event = row.split_off(row.len().min(1));
            let (id,): (String,) = <_>::from_row(row)?;
            filled.replaced.insert(id, EventRow::from_row(event)?);
        }
        filled.receipts = next()?.all()?;
        if !self.late_receipts.is_empty() {
            filled.receipts.extend(next()?.all::<Receipt>()?);
        }
        for room in self.members_at.keys().take(MEMBERS_AT_ROOMS) {
            filled.members.insert(room.clone(), next()?.all()?);
        }
        if !self.movements.none() {
            filled.moved = Moved::read(&mut next)?;
        }
        if !self.aggregated.is_empty() {
            filled.extras = aggregate::extras(writer, &ask.user, &self.aggregated, &mut answers)?;
        }
        Ok(filled)
    }
}
