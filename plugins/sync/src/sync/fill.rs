//! The third read: what state, members, redactions and the like add to what is new. One storage call for all rooms.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, FromRow, RowError, Rows, Select, Value, select};

use super::ask::Ask;
use super::queries;
use super::read::{AccountData, Receipt};
use super::response::Summary;
use crate::aggregate;
use crate::event::{COLUMNS, EventRow, Extra, STATE, TRANSACTION, Writer, content};
use crate::near::{Moved, Movements};
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
    /// Rooms that the user is no longer in: all account data is wanted.
    pub left: BTreeSet<String>,
    /// Rooms where somebody came or went.
    pub movements: Movements,
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
    pub heroes: HashMap<String, Heroes>,
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
            && self.events.is_empty()
            && self.summaries.is_empty()
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
                "SELECT h.present, e.position, e.event_id, e.room_id, e.type, e.state_key, e.sender, e.json, NULL, NULL \
                 FROM (SELECT m.event_id, CASE WHEN m.membership IN ('join', 'invite') THEN 1 ELSE 0 END AS present, \
                 ROW_NUMBER() OVER (PARTITION BY m.room_id ORDER BY \
                 CASE WHEN m.membership IN ('join', 'invite') THEN 1 ELSE 0 END DESC, m.position) AS place \
                 FROM rooms_v1_memberships m WHERE m.room_id IN ($1) AND m.membership <> 'knock' \
                 AND m.user_id <> $2) h CROSS JOIN rooms_v1_events e \
                 WHERE h.place <= $3 AND e.event_id = h.event_id ORDER BY h.present DESC, e.position",
                params![list(&self.summaries), &ask.user, HEROES],
            ),
            select(
                &format!(
                    "{STATE} WHERE room_id IN ($1) AND type IN ('m.room.name', 'm.room.canonical_alias') AND state_key = ''"
                ),
                params![list(&self.summaries)],
            ),
            queries::receipts_of(&list(&self.fresh)),
            queries::account_data_of(
                ask,
                &self.fresh.union(&self.left).cloned().collect::<Vec<_>>(),
            ),
        ];
        if !self.movements.none() {
            selects.extend(self.movements.selects(&ask.user, ask.new_from(), horizon));
        }
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
        filled.visibility = visibility::read_views(answers.next()?, answers.next()?, horizon)?;
        self.summarize(&mut filled, &mut answers)?;
        filled.receipts = answers.next()?.all()?;
        filled.account_data = answers.next()?.all()?;
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
        let heroes = answers.next()?.all::<Hero>()?;
        let named: BTreeSet<String> = answers
            .next()?
            .all::<EventRow>()?
            .into_iter()
            .filter(names)
            .map(|row| row.room_id)
            .collect();
        for Hero { present, event } in heroes {
            let summary = filled.summaries.entry(event.room_id.clone()).or_default();
            let chosen = summary.heroes.get_or_insert_default();
            // Who has left is named only where nobody is left.
            if present || filled.heroes.get(&event.room_id).is_none_or(|heroes| heroes.absent) {
                chosen.extend(event.state_key.clone());
                let heroes = filled.heroes.entry(event.room_id.clone()).or_default();
                heroes.absent = !present;
                heroes.events.push(event);
            }
        }
        for room in named {
            filled.heroes.remove(&room);
            if let Some(summary) = filled.summaries.get_mut(&room) {
                summary.heroes = None;
            }
        }
        Ok(())
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

/// Those chosen for one room.
#[derive(Debug, Default)]
pub(super) struct Heroes {
    /// They have left.
    absent: bool,
    pub events: Vec<EventRow>,
}

/// Answers taken one by one, in the order of the selects.
struct Answers(std::vec::IntoIter<Rows>);

impl Answers {
    fn next(&mut self) -> Result<Rows, Error> {
        self.0.next().ok_or_else(|| Error::internal("an answer is missing"))
    }
}
