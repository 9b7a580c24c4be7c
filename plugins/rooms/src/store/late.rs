//! Events that come late: what their own past says of who may see them, as far as the order of arrival says otherwise.
//!
//! Rows of `rooms_late`, see docs/views.md, "Who may see an event that came late".

use std::collections::BTreeSet;

use ruma::state_res::Event as _;
use serde::Deserialize;
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, IntoValue as _, select};
use tessera_sdk::{crypto, params};

use super::place::Changed;
use super::room::RoomRow;
use super::state_at::Chain;
use super::states::{Key, Plan, pick};
use super::write::Id;
use crate::core::visibility::Visibility;
use crate::core::{State, StoredEvent};
use crate::ids;

const MEMBER: &str = "m.room.member";
const VISIBILITY: &str = "m.room.history_visibility";
/// Stands for all users without a row of their own.
const EVERYBODY: &str = "*";
/// More rows of users than this become one for everybody, by which none of them was there: where thousands came
/// and went while the room was forked, an event of `joined` history is kept from some who could have seen it.
const MOST: usize = 200;

/// What an event's own past says of a user, or of the setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    user: String,
    before: String,
    after: String,
}

/// An event, against the room as it is when the event comes.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The room as read.
    pub room: &'a RoomRow,
    /// How the group of its state rests on others.
    pub chain: &'a Chain,
    /// What the commit changes in its state.
    pub changes: &'a [Changed],
}

#[derive(Deserialize)]
struct Content {
    history_visibility: Option<String>,
}

fn watched((kind, key): &Key) -> bool {
    match kind.as_str() {
        MEMBER => ids::is_local(key),
        VISIBILITY => key.is_empty(),
        _ => false,
    }
}

/// What a piece of state says; without one what holds then.
fn said(kind: &str, event: Option<&StoredEvent>) -> String {
    if kind == MEMBER {
        return event.and_then(StoredEvent::membership).unwrap_or_else(|| "leave".to_owned());
    }
    let named = event.and_then(StoredEvent::content_as::<Content>);
    let named = named.and_then(|content| content.history_visibility);
    Visibility::named(named.as_deref()).name().to_owned()
}

fn in_state(state: &State, (kind, key): &Key) -> String {
    said(kind, state.get(kind, key).map(AsRef::as_ref))
}

/// Keys in which two states may differ; none if there are too many.
fn keys(
    (before, below): (&Plan, &Chain),
    arrival: Arrival<'_>,
) -> Result<Option<BTreeSet<Key>>, Error> {
    let bases = [below.base, arrival.chain.base];
    let links = below.links.iter().chain(&arrival.chain.links);
    let upper: BTreeSet<i64> = links.copied().filter(|group| !bases.contains(group)).collect();
    let mut selects = vec![select(
        "SELECT type, state_key FROM rooms_state_entries
         WHERE group_id IN ($1) AND type IN ('m.room.member', 'm.room.history_visibility')",
        params![upper.into_iter().collect::<Vec<_>>()],
    )];
    if below.base != arrival.chain.base {
        let server = format!(":{}", crypto::tenant_name());
        // The database compares them: they may be large.
        selects.push(select(
            "SELECT n.type AS type, n.state_key AS state_key FROM rooms_state_entries n
             WHERE n.group_id IN ($1) AND (n.type = 'm.room.history_visibility' OR n.type = 'm.room.member' AND
               CASE WHEN length(n.state_key) > length($2)
                 THEN substr(n.state_key, length(n.state_key) - length($2) + 1) = $2 ELSE FALSE END)
             GROUP BY n.type, n.state_key
             HAVING count(n.event_id) < 2 OR min(n.event_id) <> max(n.event_id) LIMIT $3",
            params![bases.to_vec(), server, i64::try_from(MOST).unwrap_or(i64::MAX) + 1],
        ));
    }
    let mut keys = BTreeSet::new();
    for rows in storage::snapshot(&selects)?.answers() {
        keys.extend(rows.all::<Key>()?.into_iter().filter(watched));
    }
    let changed = before.changes.iter().map(|(key, _)| key);
    let changed = changed.chain(arrival.changes.iter().map(|changed| &changed.key));
    keys.extend(changed.filter(|key| watched(key)).cloned());
    Ok((keys.len() <= MOST).then_some(keys))
}

/// What the state before an event says otherwise than the room says. `own`: the event, where it is placed by this commit; none: it
/// is one that was placed long ago and comes into force after what is placed now.
///
/// # Errors
/// Storage failed.
pub fn rows(
    before: (&Plan, &Chain),
    arrival: Arrival<'_>,
    own: Option<&StoredEvent>,
) -> Result<Vec<Late>, Error> {
    let (plan, room) = (before.0, arrival.room);
    if plan.changes.is_empty() && plan.group == room.group {
        return Ok(Vec::new());
    }
    let everybody = || Late {
        user: EVERYBODY.to_owned(),
        before: said(MEMBER, None),
        after: said(MEMBER, None),
    };
    let (keys, mut late) = match keys(before, arrival)? {
        Some(keys) if keys.is_empty() => return Ok(Vec::new()),
        Some(keys) => (keys, Vec::new()),
        None => (BTreeSet::from([(VISIBILITY.to_owned(), String::new())]), vec![everybody()]),
    };
    let (then, _) = pick(&room.version, plan, &keys)?;
    let (now, _) = pick(&room.version, &Plan::stored(room.group), &keys)?;
    for key in &keys {
        let changed = arrival.changes.iter().find(|changed| changed.key == *key);
        let changed = changed
            .map(|changed| said(&key.0, changed.new.as_ref().map(|(event, _)| event.as_ref())));
        let was = in_state(&now, key);
        let arrived = match (own, changed) {
            (_, None) => (was.clone(), was),
            (Some(_), Some(changed)) => (was, changed),
            (None, Some(changed)) => (changed.clone(), changed),
        };
        let before = in_state(&then, key);
        let own = own.filter(|own| own.kind() == key.0 && own.state_key() == Some(&key.1));
        let after = own.map_or_else(|| before.clone(), |own| said(&key.0, Some(own)));
        if (&before, &after) != (&arrived.0, &arrived.1) {
            late.push(Late { user: key.1.clone(), before, after });
        }
    }
    Ok(late)
}

/// Stores them for the event at a position.
pub(super) fn write(batch: Batch, room_id: &str, place: Id, late: &[Late]) -> Batch {
    let row = |late: &Late| {
        vec![
            place.into_value(),
            late.user.as_str().into_value(),
            room_id.into_value(),
            late.before.as_str().into_value(),
            late.after.as_str().into_value(),
        ]
    };
    batch.run_many(
        "INSERT INTO rooms_late (position, user_id, room_id, value_before, value_after) VALUES ($1, $2, $3, $4, $5)",
        late.iter().map(row).collect(),
    )
}
