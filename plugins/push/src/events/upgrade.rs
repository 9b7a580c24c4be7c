//! Rules about a room hold for the one that replaces it.
//!
//! The specification leaves to servers what they carry over; who muted a room does not expect to hear of it again.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, Value as Param, select};
use tessera_sdk::{log, params};

use super::ledger::Ledger;
use super::read::Room;
use crate::rules;

const TOMBSTONE: &str = "m.room.tombstone";
/// Users whose rules are looked at in one slice: each takes up to three storage calls.
const PAGE: u32 = 50;

/// Finds the rooms that tombstones name in place of another, or of none. Those that state resolution did not leave in force, or that say
/// again what was said before, ask for nothing.
///
/// # Errors
/// Storage.
pub(super) fn replaced(rooms: &mut BTreeMap<String, Room>) -> Result<(), Error> {
    let tombstones = |room: &Room| -> Vec<(i64, Option<String>)> {
        let events = room.events.iter().filter(|event| event.kind == TOMBSTONE && !event.silent);
        events.map(|event| (event.position, replacement(&event.json))).collect()
    };
    let positions: Vec<i64> =
        rooms.values().flat_map(tombstones).map(|(position, _)| position).collect();
    if positions.is_empty() {
        return Ok(());
    }
    let before: Vec<(i64, Option<String>)> = storage::query(
        "SELECT d.position, p.json FROM rooms_v1_state_deltas d \
         LEFT JOIN rooms_v1_events p ON p.event_id = d.prev_event_id \
         WHERE d.position IN ($1) AND d.type = 'm.room.tombstone' AND d.state_key = ''",
        params![positions],
    )?
    .all()?;
    let before: HashMap<i64, Option<String>> = before.into_iter().collect();
    for room in rooms.values_mut() {
        let new = tombstones(room).into_iter().filter_map(|(position, new)| {
            let before = before.get(&position)?.as_deref().and_then(replacement);
            new.filter(|new| before.as_ref() != Some(new))
        });
        room.replaced_by = new.collect();
    }
    Ok(())
}

/// Carries rules over for those who joined in this batch. A second time changes nothing.
///
/// # Errors
/// Storage.
pub(super) fn joined(room: &Room, ledger: &Ledger) -> Result<(), Error> {
    if !ledger.joined.is_empty()
        && let Some(old) = room.create.as_deref().and_then(predecessor)
    {
        let joined: Vec<String> = ledger.joined.keys().cloned().collect();
        copy(&old, &room.room_id, &Whose::Of(joined))?;
    }
    Ok(())
}

/// Carries rules over for some of those who were in a new room before the old one said so; whether there was something to do.
///
/// # Errors
/// Storage.
pub(crate) fn slice() -> Result<bool, Error> {
    let row: Option<(String, String, String)> = storage::query(
        "SELECT new_room, old_room, user_id FROM push_upgrades ORDER BY new_room, old_room LIMIT 1",
        params![],
    )?
    .first()?;
    let Some((new, old, after)) = row else { return Ok(false) };
    let last = copy(&old, &new, &Whose::After(after.clone()))?;
    // A row that begins anew meanwhile is left alone.
    let mut place = params![&new, &old, after];
    let sql = match last {
        Some(last) => {
            place.extend(params![last]);
            "UPDATE push_upgrades SET user_id = $4 WHERE new_room = $1 AND old_room = $2 AND user_id = $3"
        }
        None => "DELETE FROM push_upgrades WHERE new_room = $1 AND old_room = $2 AND user_id = $3",
    };
    Batch::new().run(sql, place).commit_blind()?;
    Ok(true)
}

fn content(json: &str) -> Option<Value> {
    serde_json::from_str::<Value>(json).ok()?.get_mut("content").map(Value::take)
}

fn predecessor(create: &str) -> Option<String> {
    Some(content(create)?.get("predecessor")?.get("room_id")?.as_str()?.to_owned())
}

fn replacement(tombstone: &str) -> Option<String> {
    Some(content(tombstone)?.get("replacement_room")?.as_str()?.to_owned())
}

/// Members of the new room.
enum Whose {
    Of(Vec<String>),
    /// A page of those whose ids come after this one.
    After(String),
}

/// Both rooms have to say it: anybody may claim to follow a room. The last user of a page, if there may be more.
fn copy(old: &str, new: &str, whose: &Whose) -> Result<Option<String>, Error> {
    const STATE: &str = "SELECT json FROM rooms_v1_current_state WHERE room_id = $1 AND type = $2 AND state_key = ''";
    // Rules are JSON of which SQL knows nothing: whoever has some for the old room names it there.
    const USERS: &str = "SELECT m.user_id FROM rooms_v1_memberships m JOIN push_rules r ON r.user_id = m.user_id \
         JOIN rooms_v1_memberships o ON o.room_id = $1 AND o.user_id = m.user_id \
         WHERE m.room_id = $2 AND m.membership = 'join' AND REPLACE(r.content, $3, '') <> r.content";
    let named = Value::from(old).to_string();
    let mut of: Vec<Param> = params![old, new, named];
    let users = match whose {
        Whose::Of(users) => {
            of.extend(params![users.clone()]);
            select(&format!("{USERS} AND m.user_id IN ($4)"), of)
        }
        Whose::After(user) => {
            of.extend(params![user, PAGE]);
            select(&format!("{USERS} AND m.user_id > $4 ORDER BY m.user_id LIMIT $5"), of)
        }
    };
    let mut answers = storage::snapshot(&[
        select(STATE, params![new, "m.room.create"]),
        select(STATE, params![old, TOMBSTONE]),
        users,
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let create: Option<(String,)> = next()?.first()?;
    let tombstone: Option<(String,)> = next()?.first()?;
    let users: Vec<(String,)> = next()?.all()?;
    let follows = create.and_then(|(json,)| predecessor(&json)).is_some_and(|room| room == old);
    let leads = tombstone.and_then(|(json,)| replacement(&json)).is_some_and(|room| room == new);
    if !follows || !leads {
        return Ok(None);
    }
    for (user,) in &users {
        match rules::copy_room(user, old, new) {
            Ok(()) => {}
            // Too many rules, or a room's id that is none: the user is in the room all the same.
            Err(error) if error.http_status() < 500 => {
                log::warn(
                    "push rules of an upgraded room stay behind",
                    &[("user", user), ("room", new), ("reason", error.message())],
                );
            }
            Err(error) => return Err(error),
        }
    }
    let full = matches!(whose, Whose::After(_)) && users.len() == PAGE as usize;
    Ok(users.into_iter().next_back().map(|(user,)| user).filter(|_| full))
}
