//! The third read: what state, members, redactions and the like add to what is new. One storage call for all rooms.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Rows, Select, select};

use super::ask::Ask;
use super::queries;
use super::read::{AccountData, Receipt};
use super::response::Summary;
use crate::aggregate;
use crate::event::{COLUMNS, EventRow, Extra, STATE, TRANSACTION, Writer};
use crate::state::{Undone, select_undone, undone_selects};
use crate::visibility::{self, Visibility};

/// Members named where a room has no name. Spec: /sync, `m.heroes`.
const HEROES: i64 = 5;

/// What is missing.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// Rooms whose state is wanted whole, with the position from which changes are undone again.
    pub full: BTreeMap<String, i64>,
    /// Leave out members that nobody asked for in `members`.
    pub lazy: bool,
    /// Members wanted, by room.
    pub members: BTreeMap<String, BTreeSet<String>>,
    /// Events wanted by id.
    pub events: BTreeSet<String>,
    /// Rooms whose counts are wanted.
    pub summaries: BTreeSet<String>,
    /// Rooms where the user may not see everything.
    pub views: BTreeSet<String>,
    /// Rooms joined since the token: all receipts and account data are wanted.
    pub fresh: BTreeSet<String>,
    /// Events that were redacted or have others relating to them.
    pub aggregated: Vec<&'a EventRow>,
}

/// What the plan asked for.
#[derive(Debug, Default)]
pub(super) struct Filled {
    /// Current state, by room.
    pub state: HashMap<String, Vec<EventRow>>,
    /// Changes to undo, oldest first, by room.
    pub undone: HashMap<String, Vec<Undone>>,
    pub events: HashMap<String, EventRow>,
    pub visibility: HashMap<String, Visibility>,
    pub summaries: HashMap<String, Summary>,
    /// Member events of heroes, by room.
    pub heroes: HashMap<String, Vec<EventRow>>,
    pub receipts: Vec<Receipt>,
    pub account_data: Vec<AccountData>,
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
            && self.events.is_empty()
            && self.summaries.is_empty()
            && self.views.is_empty()
            && self.fresh.is_empty()
            && self.aggregated.is_empty()
    }

    fn selects(&self, ask: &Ask, horizon: i64) -> Vec<Select> {
        let device = ask.device.as_deref().unwrap_or("");
        let full: Vec<String> = self.full.keys().cloned().collect();
        let member_rooms: Vec<String> = self.members.keys().cloned().collect();
        let members: BTreeSet<String> = self.members.values().flatten().cloned().collect();
        let views = list(&self.views);
        let members_too = if self.lazy { " AND type <> 'm.room.member'" } else { "" };
        let mut selects = vec![
            select(&format!("{STATE} WHERE room_id IN ($1){members_too}"), params![full]),
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
            select(
                "SELECT room_id, membership, COUNT(*) FROM rooms_v1_memberships \
                 WHERE room_id IN ($1) AND membership IN ('join', 'invite') GROUP BY room_id, membership",
                params![list(&self.summaries)],
            ),
            select(
                "SELECT e.position, e.event_id, e.room_id, e.type, e.state_key, e.sender, e.json, NULL, NULL \
                 FROM (SELECT m.event_id, ROW_NUMBER() OVER (PARTITION BY m.room_id ORDER BY m.position) AS place \
                 FROM rooms_v1_memberships m WHERE m.room_id IN ($1) AND m.membership IN ('join', 'invite') \
                 AND m.user_id <> $2) h CROSS JOIN rooms_v1_events e \
                 WHERE h.place <= $3 AND e.event_id = h.event_id ORDER BY e.position",
                params![list(&self.summaries), &ask.user, HEROES],
            ),
            queries::receipts_of(&list(&self.fresh)),
            queries::account_data_of(ask, &list(&self.fresh)),
        ];
        selects.extend(select_undone(&ask.user, ask.device.as_deref(), &self.full));
        if !self.aggregated.is_empty() {
            let device = ask.device.as_deref();
            selects.extend(aggregate::selects(&ask.user, device, &self.aggregated, horizon));
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
            return Ok(Filled::default());
        }
        let results = storage::snapshot(&self.selects(ask, horizon))?.results;
        let mut answers = Answers(results.into_iter());
        let mut filled = Filled::default();
        for row in answers.next()?.all::<EventRow>()? {
            filled.state.entry(row.room_id.clone()).or_default().push(row);
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
        // What the horizon hides is not known yet: a later join would open what was shut.
        let settings = visibility::read_settings(answers.next()?)?.into_iter();
        for (room, position, setting) in settings.filter(|(_, at, _)| *at <= horizon) {
            filled.visibility.entry(room).or_default().settings.push((position, setting));
        }
        let memberships = visibility::read_memberships(answers.next()?)?.into_iter();
        for (room, position, membership) in memberships.filter(|(_, at, _)| *at <= horizon) {
            filled.visibility.entry(room).or_default().memberships.push((position, membership));
        }
        self.summarize(&mut filled, &mut answers)?;
        filled.receipts = answers.next()?.all()?;
        filled.account_data = answers.next()?.all()?;
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

    fn summarize(&self, filled: &mut Filled, answers: &mut Answers) -> Result<(), Error> {
        for room in &self.summaries {
            let summary = Summary { heroes: Some(Vec::new()), joined: Some(0), invited: Some(0) };
            filled.summaries.insert(room.clone(), summary);
        }
        for (room, membership, count) in answers.next()?.all::<(String, String, i64)>()? {
            let summary = filled.summaries.entry(room).or_default();
            match membership.as_str() {
                "join" => summary.joined = Some(count),
                _ => summary.invited = Some(count),
            }
        }
        for hero in answers.next()?.all::<EventRow>()? {
            let summary = filled.summaries.entry(hero.room_id.clone()).or_default();
            summary.heroes.get_or_insert_default().extend(hero.state_key.clone());
            filled.heroes.entry(hero.room_id.clone()).or_default().push(hero);
        }
        Ok(())
    }
}

/// Answers taken one by one, in the order of the selects.
struct Answers(std::vec::IntoIter<Rows>);

impl Answers {
    fn next(&mut self) -> Result<Rows, Error> {
        self.0.next().ok_or_else(|| Error::internal("an answer is missing"))
    }
}
