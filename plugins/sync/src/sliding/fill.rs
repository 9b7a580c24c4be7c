//! The third read: what the events found need beside themselves. One storage call for all rooms, or none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{FromRow, select};

use super::ask::Ask;
use crate::budget::Budget;
use crate::event::{COLUMNS, EventRow, TRANSACTION, Writer};
use crate::fill::{Asker, Given, Reads, Wants, list};
use crate::members::{self, First, HEROES};
use crate::sync::read::Receipt;

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
    /// Rooms whose members are counted.
    pub counted: BTreeSet<String>,
    /// Rooms without a name.
    pub unnamed: BTreeSet<String>,
    /// State events shown in timelines.
    pub replacing: Vec<&'a EventRow>,
    /// Rooms that get their receipts for the first time, and the events that are shown of them.
    pub receipts: BTreeMap<String, BTreeSet<String>>,
    /// What is planned as /sync plans it. Its receipts are of rooms that get them later than everything else.
    pub wants: Wants<'a>,
}

/// What the plan asked for.
#[derive(Debug, Default)]
pub(super) struct Filled {
    /// Joined and invited, by room.
    pub counts: HashMap<String, (i64, i64)>,
    pub heroes: HashMap<String, Vec<Hero>>,
    /// What state events replaced, by their id.
    pub replaced: HashMap<String, EventRow>,
    pub given: Given,
}

impl AsMut<Given> for Filled {
    fn as_mut(&mut self) -> &mut Given {
        &mut self.given
    }
}

impl Plan<'_> {
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
        let user = ask.user.as_str();
        let device = ask.device.as_deref();
        let mut reads: Reads<'_, Filled> = Reads::new();
        if !self.counted.is_empty() {
            reads.add(members::select_counts(user, &list(&self.counted)), |filled, next| {
                filled.counts = members::read_counts(next)?;
                Ok(())
            });
        }
        if !self.unnamed.is_empty() {
            let first = members::select_first(user, &list(&self.unnamed), true);
            reads.add([first], move |filled, next| {
                for (room, first) in members::read_first(next()?)? {
                    filled.heroes.insert(room, heroes(user, first));
                }
                Ok(())
            });
        }
        if !self.replacing.is_empty() {
            let positions: Vec<i64> = self.replacing.iter().map(|event| event.position).collect();
            let ids: Vec<String> =
                self.replacing.iter().map(|event| event.event_id.clone()).collect();
            let sql = format!(
                "SELECT d.event_id, {COLUMNS} FROM rooms_v1_state_deltas d CROSS JOIN rooms_v1_events e \
                 {TRANSACTION} WHERE d.position IN ($3) AND d.event_id IN ($4) AND e.event_id = d.prev_event_id"
            );
            let params = params![user, device.unwrap_or(""), positions, ids];
            reads.add([select(&sql, params)], |filled, next| {
                for mut row in next()?.rows {
                    let event = row.split_off(row.len().min(1));
                    let (id,): (String,) = <_>::from_row(row)?;
                    filled.replaced.insert(id, EventRow::from_row(event)?);
                }
                Ok(())
            });
        }
        if !self.receipts.is_empty() {
            let rooms: Vec<String> = self.receipts.keys().cloned().collect();
            let shown: BTreeSet<String> = self.receipts.values().flatten().cloned().collect();
            let select = select(
                "SELECT r.room_id, r.user_id, r.type, r.thread_id, r.event_id, r.ts, r.position \
                 FROM presence_v1_receipts r WHERE r.room_id IN ($1) AND (r.user_id = $2 OR r.event_id IN ($3))",
                params![rooms, user, list(&shown)],
            );
            reads.add([select], |filled, next| {
                filled.given.receipts.extend(next()?.all::<Receipt>()?);
                Ok(())
            });
        }
        self.wants.plan(Asker { user, device, since, horizon }, writer, &mut reads);
        reads.run(&mut filled, Budget::default())?;
        Ok(filled)
    }
}

/// After whom a room is named for one of its members. Those who went are named only where nobody else is there.
fn heroes(user: &str, first: Vec<First>) -> Vec<Hero> {
    let others: Vec<First> =
        first.into_iter().filter(|first| first.event.state_key.as_deref() != Some(user)).collect();
    let there = others.iter().any(|first| first.present);
    let heroes = others.into_iter().filter(|first| first.present == there).take(HEROES);
    let hero = |first: First| Hero {
        user: first.event.state_key.unwrap_or_default(),
        name: first.name,
        avatar: first.avatar,
    };
    heroes.map(hero).collect()
}
