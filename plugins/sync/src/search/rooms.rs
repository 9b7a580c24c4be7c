//! Where is searched: rooms that the user is or was in, and what they may see of them.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, select};
use tessera_sdk::{params, presentation};

use super::ask::Place;
use super::{Ask, Hit};
use crate::event::{EventRow, Extra, STATE, content};
use crate::state::{self, Undone, select_undone};
use crate::visibility::{self, Visibility};
use crate::{history, ignored};

/// How many upgrades back a room's past is searched.
const MAX_UPGRADES: usize = 10;

/// The rooms that are searched.
pub(super) struct Searched {
    pub rooms: Vec<String>,
    /// Users whose messages are kept back.
    pub ignored: BTreeSet<String>,
    views: HashMap<String, Visibility>,
}

impl Searched {
    pub(super) fn sees(&self, row: &EventRow) -> bool {
        self.views.get(&row.room_id).is_some_and(|view| view.sees_event(row))
    }

    pub(super) fn membership_at<'a>(&'a self, row: &'a EventRow) -> &'a str {
        self.views.get(&row.room_id).map_or("leave", |view| view.membership_after(row))
    }

    /// Past it the user sees nothing of a room.
    pub(super) fn last_position(&self, room: &str) -> i64 {
        let last = self.views.get(room).and_then(|view| view.memberships.last());
        match last {
            Some((left, membership)) if membership != "join" => *left,
            _ => i64::MAX,
        }
    }
}

/// Rooms of the user, as far as the request wants them. Two storage calls, and one for each upgrade looked back.
pub(super) fn searched(ask: &Ask<'_>) -> Result<Searched, Error> {
    let known: BTreeSet<String> = storage::query(
        "SELECT DISTINCT c.room_id FROM rooms_v1_membership_changes c JOIN rooms_v1_memberships m \
         ON m.room_id = c.room_id AND m.user_id = c.user_id \
         WHERE c.user_id = $1 AND c.membership = 'join' AND NOT m.forgotten",
        params![ask.user],
    )?
    .all::<(String,)>()?
    .into_iter()
    .map(|(room,)| room)
    .collect();
    let filter = &ask.criteria.filter;
    let wanted: Option<BTreeSet<String>> = match (&ask.place, &filter.rooms) {
        (Place::After(_, room, _), _) => Some(BTreeSet::from([room.clone()])),
        (_, Some(rooms)) => Some(with_predecessors(rooms, &known)?),
        (_, None) => None,
    };
    let rooms: Vec<String> = known
        .into_iter()
        .filter(|room| wanted.as_ref().is_none_or(|wanted| wanted.contains(room)))
        .filter(|room| !filter.not_rooms.contains(room))
        .collect();
    let mut answers = storage::snapshot(&[
        visibility::select_settings(&rooms),
        visibility::select_memberships(ask.user, &rooms),
        ignored::select(ask.user),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let views = visibility::read_views(next()?, next()?, i64::MAX)?;
    let list: Option<(String,)> = next()?.first()?;
    let ignored = list.map(|(list,)| ignored::users(&list)).unwrap_or_default();
    Ok(Searched { rooms, ignored, views })
}

/// Rooms and those that they were upgraded from.
fn with_predecessors(
    rooms: &[String],
    known: &BTreeSet<String>,
) -> Result<BTreeSet<String>, Error> {
    let mut all: BTreeSet<String> = rooms.iter().cloned().collect();
    let mut last: Vec<String> = all.intersection(known).cloned().collect();
    for _ in 0..MAX_UPGRADES {
        if last.is_empty() {
            break;
        }
        let rows: Vec<EventRow> = storage::query(
            &format!("{STATE} WHERE room_id IN ($1) AND type = 'm.room.create' AND state_key = ''"),
            params![std::mem::take(&mut last)],
        )?
        .all()?;
        for row in rows {
            let content = content(&row.json)?;
            let before = content.pointer("/predecessor/room_id").and_then(Value::as_str);
            last.extend(before.filter(|room| all.insert((*room).to_owned())).map(str::to_owned));
        }
    }
    Ok(all)
}

/// The state of each room in which something was found, as it is, or was when the user left. One storage call.
pub(super) fn states(ask: &Ask<'_>, searched: &Searched, hits: &[Hit]) -> Result<Value, Error> {
    let rooms: BTreeSet<String> = hits.iter().map(|hit| hit.event.room_id.clone()).collect();
    let rooms: Vec<String> = rooms.into_iter().collect();
    if rooms.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let ends: Vec<i64> =
        rooms.iter().map(|room| searched.last_position(room).saturating_add(1)).collect();
    let mut selects = vec![select(&format!("{STATE} WHERE room_id IN ($1)"), params![&*rooms])];
    selects.extend(select_undone(ask.user, ask.device, rooms.iter().zip(&ends)));
    let mut answers = storage::snapshot(&selects)?.answers();
    let mut current: HashMap<String, Vec<EventRow>> = HashMap::new();
    for row in
        answers.next().ok_or_else(|| Error::internal("an answer is missing"))?.all::<EventRow>()?
    {
        current.entry(row.room_id.clone()).or_default().push(row);
    }
    let mut undone: HashMap<String, Vec<Undone>> = HashMap::new();
    for rows in answers {
        for change in rows.all::<Undone>()? {
            undone.entry(change.delta.room_id.clone()).or_default().push(change);
        }
    }
    let writer = history::writer();
    let mut states = Map::new();
    for room in rooms {
        let current = current.remove(&room).unwrap_or_default();
        let undone = undone.remove(&room).unwrap_or_default();
        let mut events = state::rewound(current, &undone)
            .values()
            .map(|row| writer.write(row, Extra::default()))
            .collect::<Result<Vec<_>, _>>()?;
        presentation::add_fields(events.iter_mut().map(|event| (None, event)), ask.user);
        let events =
            events.iter().map(|raw| serde_json::from_str(raw.get()).map_err(Error::internal));
        states.insert(room, Value::Array(events.collect::<Result<_, _>>()?));
    }
    Ok(Value::Object(states))
}
