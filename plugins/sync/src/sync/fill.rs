//! The third read: what state, members, redactions and the like add to what is new. One storage call for all rooms.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, FromRow, RowError, Rows, Select, Value, select};

use super::ask::Ask;
use super::read::Delta;
use super::response::Summary;
use crate::event::{COLUMNS, EventRow, TRANSACTION};
use crate::visibility::{self, Visibility};

/// Members named where a room has no name. Spec: /sync, `m.heroes`.
const HEROES: usize = 5;

/// What is missing.
#[derive(Debug, Default)]
pub(super) struct Plan {
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
}

/// A change with the state event that it replaced.
#[derive(Debug)]
pub(super) struct Undone {
    pub delta: Delta,
    pub replaced: Option<EventRow>,
}

impl FromRow for Undone {
    fn from_row(mut row: Vec<Value>) -> Result<Self, RowError> {
        let event = row.split_off(row.len().min(6));
        let delta = Delta::from_row(row)?;
        let known = !matches!(event.first(), None | Some(Value::Null));
        let replaced = known.then(|| EventRow::from_row(event)).transpose()?;
        Ok(Self { delta, replaced })
    }
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
}

const STATE: &str = "SELECT position, event_id, room_id, type, state_key, sender, json, NULL, NULL \
     FROM rooms_v1_current_state WHERE room_id IN ($1)";

impl Plan {
    fn is_empty(&self) -> bool {
        self.full.is_empty()
            && self.members.is_empty()
            && self.events.is_empty()
            && self.summaries.is_empty()
    }

    fn selects(&self, ask: &Ask) -> Vec<Select> {
        let device = ask.device.as_deref().unwrap_or("");
        let full: Vec<String> = self.full.keys().cloned().collect();
        let member_rooms: Vec<String> = self.members.keys().cloned().collect();
        let members: BTreeSet<&String> = self.members.values().flatten().collect();
        let members: Vec<String> = members.into_iter().cloned().collect();
        let events: Vec<String> = self.events.iter().cloned().collect();
        let summaries: Vec<String> = self.summaries.iter().cloned().collect();
        let state = if self.lazy {
            format!("{STATE} AND type <> 'm.room.member'")
        } else {
            STATE.to_owned()
        };
        let mut selects = vec![
            select(&state, params![full.as_slice()]),
            select(
                &format!("{STATE} AND type = 'm.room.member' AND state_key IN ($2)"),
                params![member_rooms, members],
            ),
            select(
                &format!(
                    "SELECT {COLUMNS} FROM rooms_v1_events e {TRANSACTION} WHERE e.event_id IN ($3)"
                ),
                params![&ask.user, device, events],
            ),
            visibility::select_settings(&full),
            visibility::select_memberships(&ask.user, &full),
            select(
                "SELECT room_id, membership, COUNT(*) FROM rooms_v1_memberships \
                 WHERE room_id IN ($1) AND membership IN ('join', 'invite') GROUP BY room_id, membership",
                params![summaries],
            ),
        ];
        for room in &self.summaries {
            selects.push(select(
                "SELECT e.position, e.event_id, e.room_id, e.type, e.state_key, e.sender, e.json, NULL, NULL \
                 FROM rooms_v1_memberships m JOIN rooms_v1_events e ON e.event_id = m.event_id \
                 WHERE m.room_id = $1 AND m.membership IN ('join', 'invite') AND m.user_id <> $2 \
                 ORDER BY m.position LIMIT $3",
                params![room, &ask.user, i64::try_from(HEROES).unwrap_or(5)],
            ));
        }
        for (room, position) in &self.full {
            selects.push(select(
                &format!(
                    "SELECT d.position, d.room_id, d.type, d.state_key, d.event_id, d.prev_event_id, {COLUMNS} \
                     FROM rooms_v1_state_deltas d LEFT JOIN rooms_v1_events e ON e.event_id = d.prev_event_id \
                     {TRANSACTION} WHERE d.room_id = $3 AND d.position >= $4 ORDER BY d.position"
                ),
                params![&ask.user, device, room, *position],
            ));
        }
        selects
    }

    /// Reads what is planned; no storage call where that is nothing.
    pub(super) fn fill(&self, ask: &Ask) -> Result<Filled, Error> {
        if self.is_empty() {
            return Ok(Filled::default());
        }
        let mut answers = Answers(storage::snapshot(&self.selects(ask))?.results.into_iter());
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
        for (room, position, setting) in visibility::read_settings(answers.next()?)? {
            filled.visibility.entry(room).or_default().settings.push((position, setting));
        }
        for (room, position, membership) in visibility::read_memberships(answers.next()?)? {
            filled.visibility.entry(room).or_default().memberships.push((position, membership));
        }
        for (room, membership, count) in answers.next()?.all::<(String, String, i64)>()? {
            let summary = filled.summaries.entry(room).or_default();
            match membership.as_str() {
                "join" => summary.joined = Some(count),
                _ => summary.invited = Some(count),
            }
        }
        for room in &self.summaries {
            let heroes: Vec<EventRow> = answers.next()?.all()?;
            let summary = filled.summaries.entry(room.clone()).or_default();
            summary.joined.get_or_insert(0);
            summary.invited.get_or_insert(0);
            summary.heroes = Some(heroes.iter().filter_map(|row| row.state_key.clone()).collect());
            filled.heroes.insert(room.clone(), heroes);
        }
        for room in self.full.keys() {
            filled.undone.insert(room.clone(), answers.next()?.all()?);
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

/// The newest `limit` events of rooms that were joined since the token: they start anew.
pub(super) fn tails(ask: &Ask, rooms: &[String], limit: usize) -> Result<Vec<EventRow>, Error> {
    if rooms.is_empty() {
        return Ok(Vec::new());
    }
    let device = ask.device.as_deref().unwrap_or("");
    let sql = format!(
        "SELECT {COLUMNS} FROM rooms_v1_events e {TRANSACTION} WHERE e.room_id = $3 \
         AND e.stream AND NOT e.rejected ORDER BY e.position DESC LIMIT $4"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let selects: Vec<Select> =
        rooms.iter().map(|room| select(&sql, params![&ask.user, device, room, limit])).collect();
    let mut events = Vec::new();
    for rows in storage::snapshot(&selects)?.answers() {
        events.extend(rows.all::<EventRow>()?);
    }
    Ok(events)
}
