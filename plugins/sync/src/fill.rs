//! What the events found need beside themselves: one storage call for all rooms, of no more statements than there is to ask.
//!
//! /sync and sliding sync plan alike what they have in common ([`Wants`]), and each adds what is its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{Rows, Select, select};

use crate::aggregate;
use crate::budget::{Budget, Failure};
use crate::event::{EventRow, Extra, STATE, Writer};
use crate::near::{Moved, Movements};
use crate::receipts;
use crate::state::{MEMBERS_AT_ROOMS, select_members_at};
use crate::sync::read::Receipt;

/// Gives the next answer.
pub(crate) type Next<'n> = dyn FnMut() -> Result<Rows, Error> + 'n;
/// What becomes of answers: it takes as many as it asked for.
type Take<'a, T> = Box<dyn FnOnce(&mut T, &mut Next<'_>) -> Result<(), Error> + 'a>;

/// What is read at one moment, and what becomes of it.
pub(crate) struct Reads<'a, T> {
    selects: Vec<Select>,
    takes: Vec<Take<'a, T>>,
}

impl<'a, T> Reads<'a, T> {
    pub(crate) fn new() -> Self {
        Self { selects: Vec::new(), takes: Vec::new() }
    }

    /// Adds statements and who takes their answers, each of them once and in order.
    pub(crate) fn add(
        &mut self,
        selects: impl IntoIterator<Item = Select>,
        take: impl FnOnce(&mut T, &mut Next<'_>) -> Result<(), Error> + 'a,
    ) {
        self.selects.extend(selects);
        self.takes.push(Box::new(take));
    }

    /// Reads it all. No storage call where that is nothing.
    ///
    /// # Errors
    /// It is more than the budget allows; the database does not answer, or a view is not as documented.
    pub(crate) fn run(self, into: &mut T, mut budget: Budget) -> Result<(), Failure> {
        if self.selects.is_empty() {
            return Ok(());
        }
        let mut answers = budget.snapshot(&self.selects)?.answers();
        let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
        Ok(self.takes.into_iter().try_for_each(|take| take(into, &mut next))?)
    }
}

/// Who asks, and of when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub user: &'a str,
    pub device: Option<&'a str>,
    /// Changes from here on are news to the client.
    pub since: i64,
    pub horizon: i64,
}

/// What both kinds of sync may want.
#[derive(Debug, Default)]
pub(crate) struct Wants<'a> {
    /// Members of whom timelines speak, by room.
    pub members: BTreeMap<String, BTreeSet<String>>,
    /// The same for rooms that the user is no longer in, and where their view ends.
    pub members_at: BTreeMap<String, (BTreeSet<String>, i64)>,
    /// Events that were redacted or have others relating to them.
    pub aggregated: Vec<&'a EventRow>,
    /// Rooms of which the newest receipts are told.
    pub receipts: BTreeSet<String>,
    /// Rooms where somebody came or went.
    pub movements: Movements,
    /// Users whose messages, threads and edits are kept back.
    pub ignored: BTreeSet<String>,
}

/// What was found of it.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// Member events, by room.
    pub members: HashMap<String, Vec<EventRow>>,
    /// Redactions and aggregations, by event.
    pub extras: HashMap<String, Extra>,
    pub receipts: Vec<Receipt>,
    pub moved: Moved,
}

/// A set as a parameter.
pub(crate) fn list(set: &BTreeSet<String>) -> Vec<String> {
    set.iter().cloned().collect()
}

impl Wants<'_> {
    /// Adds what is wanted to what is read.
    pub(crate) fn plan<'r, T: AsMut<Given>>(
        &'r self,
        asker: Asker<'r>,
        writer: &'r Writer<'r>,
        reads: &mut Reads<'r, T>,
    ) {
        let Asker { user, device, since, horizon } = asker;
        if !self.members.is_empty() {
            let rooms: Vec<String> = self.members.keys().cloned().collect();
            let users: BTreeSet<String> = self.members.values().flatten().cloned().collect();
            let sql = format!(
                "{STATE} WHERE room_id IN ($1) AND type = 'm.room.member' AND state_key IN ($2)"
            );
            reads.add([select(&sql, params![rooms, list(&users)])], |into, next| {
                for row in next()?.all::<EventRow>()? {
                    let user = row.state_key.as_deref().unwrap_or("");
                    if self.members.get(&row.room_id).is_some_and(|users| users.contains(user)) {
                        let members = &mut into.as_mut().members;
                        members.entry(row.room_id.clone()).or_default().push(row);
                    }
                }
                Ok(())
            });
        }
        for (room, (members, end)) in self.members_at.iter().take(MEMBERS_AT_ROOMS) {
            let select = select_members_at(user, device, room, members, *end);
            reads.add([select], move |into, next| {
                let rows = next()?.all::<EventRow>()?;
                into.as_mut().members.entry(room.clone()).or_default().extend(rows);
                Ok(())
            });
        }
        if !self.receipts.is_empty() {
            let select = receipts::newest(user, 0, receipts::of(&list(&self.receipts)));
            reads.add([select], |into, next| {
                into.as_mut().receipts.extend(next()?.all::<Receipt>()?);
                Ok(())
            });
        }
        if !self.movements.none() {
            reads.add(self.movements.selects(user, since, horizon), |into, next| {
                into.as_mut().moved = Moved::read(next)?;
                Ok(())
            });
        }
        if !self.aggregated.is_empty() {
            let selects =
                aggregate::selects(user, device, &self.aggregated, horizon, &self.ignored);
            reads.add(selects, move |into, next| {
                into.as_mut().extras = aggregate::extras(writer, user, &self.aggregated, next)?;
                Ok(())
            });
        }
    }
}
