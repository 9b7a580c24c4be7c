//! The third read: what state, members, redactions and the like add to what is new. One storage call for all rooms.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Rows, Select, select};

use super::ask::Ask;
use super::crowd::{self, Member};
use super::queries;
use super::read::{AccountData, Receipt};
use super::summary::{self, Summaries};
use crate::aggregate;
use crate::event::{COLUMNS, EventRow, Extra, STATE, TRANSACTION, Writer};
use crate::near::{Moved, Movements};
use crate::receipts;
use crate::state::{MEMBERS_AT_ROOMS, Undone, select_members_at, select_undone, undone_selects};
use crate::visibility::{self, Visibility};

/// What is missing.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// Rooms whose state is wanted whole, with the position from which changes are undone again.
    pub full: BTreeMap<String, i64>,
    /// The members of these rooms, too. Where it is not set, only those of `members`.
    pub crowds: bool,
    /// Of the one room in `full` so many members, and none of others.
    pub slice: Option<usize>,
    /// Members wanted, by room.
    pub members: BTreeMap<String, BTreeSet<String>>,
    /// Members wanted as they were at a position, by room.
    pub members_at: BTreeMap<String, (BTreeSet<String>, i64)>,
    /// Events wanted by id.
    pub events: BTreeSet<String>,
    pub summaries: Summaries,
    /// Rooms where the user may not see everything.
    pub views: BTreeSet<String>,
    /// Rooms joined since the token: all receipts and account data are wanted.
    pub fresh: BTreeSet<String>,
    /// Rooms that the user is no longer in: all account data is wanted.
    pub left: BTreeSet<String>,
    /// Users whose messages are kept back.
    pub ignored: BTreeSet<String>,
    /// Rooms where somebody came or went.
    pub movements: Movements,
    /// Events that were redacted or have others relating to them.
    pub aggregated: Vec<&'a EventRow>,
}

/// What the plan asked for.
#[derive(Debug, Default)]
pub(super) struct Filled {
    /// Current state, by room. Without the members of rooms told whole.
    pub state: HashMap<String, Vec<EventRow>>,
    /// Those, by room.
    pub crowds: HashMap<String, Vec<Member>>,
    /// Changes to undo, oldest first, by room.
    pub undone: HashMap<String, Vec<Undone>>,
    pub events: HashMap<String, EventRow>,
    pub visibility: HashMap<String, Visibility>,
    pub summaries: summary::Found,
    pub receipts: Vec<Receipt>,
    pub account_data: Vec<AccountData>,
    pub moved: Moved,
    /// Redactions and aggregations, by event.
    pub extras: HashMap<String, Extra>,
}

fn list(set: &BTreeSet<String>) -> Vec<String> {
    set.iter().cloned().collect()
}

impl Plan<'_> {
    fn is_empty(&self) -> bool {
        self.full.is_empty()
            && self.members.is_empty()
            && self.members_at.is_empty()
            && self.events.is_empty()
            && self.summaries.none()
            && self.views.is_empty()
            && self.fresh.is_empty()
            && self.left.is_empty()
            && self.movements.none()
            && self.aggregated.is_empty()
    }

    fn selects(&self, ask: &Ask, horizon: i64) -> Vec<Select> {
        let device = ask.device.as_deref().unwrap_or("");
        let full: Vec<String> = self.full.keys().cloned().collect();
        let member_rooms: Vec<String> = self.members.keys().cloned().collect();
        let members: BTreeSet<String> = self.members.values().flatten().cloned().collect();
        let views = list(&self.views);
        let crowds = if self.crowds { full.as_slice() } else { &[] };
        let crowds = match (self.slice, crowds.first()) {
            (Some(limit), Some(room)) => crowd::select_slice(room, "", limit),
            _ => crowd::select_all(crowds),
        };
        let mut selects = vec![
            select(
                &format!("{STATE} WHERE room_id IN ($1) AND type <> 'm.room.member'"),
                params![full.as_slice()],
            ),
            crowds,
            select(
                &format!(
                    "{STATE} WHERE room_id IN ($1) AND type = 'm.room.member' AND state_key IN ($2)"
                ),
                params![member_rooms, list(&members)],
            ),
            select(
                &format!(
                    "SELECT {COLUMNS} FROM rooms_v1_events e {TRANSACTION} WHERE e.event_id IN ($3)"
                ),
                params![&ask.user, device, list(&self.events)],
            ),
            visibility::select_settings(&views),
            visibility::select_memberships(&ask.user, &views),
            receipts::newest(&ask.user, 0, receipts::of(&list(&self.fresh))),
            queries::account_data_of(
                ask,
                &self.fresh.union(&self.left).cloned().collect::<Vec<_>>(),
            ),
        ];
        for (room, (members, end)) in self.members_at.iter().take(MEMBERS_AT_ROOMS) {
            let device = ask.device.as_deref();
            selects.push(select_members_at(&ask.user, device, room, members, *end));
        }
        if !self.summaries.none() {
            selects.extend(self.summaries.selects(&ask.user));
        }
        if !self.movements.none() {
            selects.extend(self.movements.selects(&ask.user, ask.new_from(), horizon));
        }
        selects.extend(select_undone(&ask.user, ask.device.as_deref(), &self.full));
        if !self.aggregated.is_empty() {
            let device = ask.device.as_deref();
            selects.extend(aggregate::selects(
                &ask.user,
                device,
                &self.aggregated,
                horizon,
                &self.ignored,
            ));
        }
        selects
    }

    /// Reads what is planned; no storage call where that is nothing.
    pub(super) fn fill(
        &self,
        ask: &Ask,
        writer: &Writer<'_>,
        horizon: i64,
    ) -> Result<Filled, Error> {
        if self.is_empty() {
            return Ok(Filled { summaries: self.summaries.known(), ..Filled::default() });
        }
        let results = storage::snapshot(&self.selects(ask, horizon))?.results;
        let mut answers = Answers(results.into_iter());
        let mut filled = Filled { summaries: self.summaries.known(), ..Filled::default() };
        for row in answers.next()?.all::<EventRow>()? {
            filled.state.entry(row.room_id.clone()).or_default().push(row);
        }
        for row in answers.next()?.all::<Member>()? {
            match filled.crowds.get_mut(&row.room_id) {
                Some(members) => members.push(row),
                None => {
                    filled.crowds.insert(row.room_id.clone(), vec![row]);
                }
            }
        }
        for row in answers.next()?.all::<EventRow>()? {
            let wanted = self.members.get(&row.room_id);
            let key = row.state_key.as_deref().unwrap_or("");
            if wanted.is_some_and(|users| users.contains(key)) {
                filled.state.entry(row.room_id.clone()).or_default().push(row);
            }
        }
        for row in answers.next()?.all::<EventRow>()? {
            filled.events.insert(row.event_id.clone(), row);
        }
        filled.visibility = visibility::read_views(answers.next()?, answers.next()?, horizon)?;
        filled.receipts = answers.next()?.all()?;
        filled.account_data = answers.next()?.all()?;
        for room in self.members_at.keys().take(MEMBERS_AT_ROOMS) {
            let rows = answers.next()?.all::<EventRow>()?;
            filled.state.entry(room.clone()).or_default().extend(rows);
        }
        if !self.summaries.none() {
            filled.summaries = self.summaries.read(&ask.user, || answers.next())?;
        }
        if !self.movements.none() {
            filled.moved = Moved::read(|| answers.next())?;
        }
        let undone = undone_selects(self.full.len());
        for _ in 0..undone {
            for change in answers.next()?.all::<Undone>()? {
                filled.undone.entry(change.delta.room_id.clone()).or_default().push(change);
            }
        }
        if !self.aggregated.is_empty() {
            filled.extras = aggregate::extras(writer, &ask.user, &self.aggregated, &mut answers.0)?;
        }
        Ok(filled)
    }
}

/// Answers taken one by one, in the order of the selects.
struct Answers(std::vec::IntoIter<Rows>);

impl Answers {
    fn next(&mut self) -> Result<Rows, Error> {
        self.0.next().ok_or_else(|| Error::internal("an answer is missing"))
    }
}
