//! Rules about a room hold for the one that replaces it.
//!
//! The specification leaves to servers what they carry over; who muted a room does not expect to hear of it again.

use serde_json::Value;
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, select};
use tessera_sdk::{log, params};

use super::ledger::Ledger;
use super::read::Room;
use crate::rules;

/// Users with rules of their own who are looked at for one upgrade at a time.
const MAX_USERS: i64 = 1000;

/// Carries rules over for those who joined in this batch, and for those who were in the new room before the old one said so.
/// A second time changes nothing.
///
/// # Errors
/// Storage.
pub(super) fn carry_over(room: &Room, ledger: &Ledger) -> Result<(), Error> {
    if !ledger.joined.is_empty()
        && let Some(old) = room.create.as_deref().and_then(predecessor)
    {
        let joined: Vec<String> = ledger.joined.keys().cloned().collect();
        copy(&old, &room.room_id, Some(joined))?;
    }
    let tombstones = room.events.iter().filter(|event| event.kind == "m.room.tombstone");
    for event in tombstones.filter(|event| !event.silent) {
        if let Some(new) = replacement(&event.json) {
            copy(&room.room_id, &new, None)?;
        }
    }
    Ok(())
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

/// Both rooms have to say it: anybody may claim to follow a room. `users`: none are all.
fn copy(old: &str, new: &str, users: Option<Vec<String>>) -> Result<(), Error> {
    const STATE: &str = "SELECT json FROM rooms_v1_current_state WHERE room_id = $1 AND type = $2 AND state_key = ''";
    const USERS: &str = "SELECT m.user_id FROM rooms_v1_memberships m JOIN push_rules r ON r.user_id = m.user_id \
         JOIN rooms_v1_memberships o ON o.room_id = $1 AND o.user_id = m.user_id \
         WHERE m.room_id = $2 AND m.membership = 'join'";
    let users = match users {
        Some(users) => select(
            &format!("{USERS} AND m.user_id IN ($3) LIMIT $4"),
            params![old, new, users, MAX_USERS],
        ),
        None => select(&format!("{USERS} LIMIT $3"), params![old, new, MAX_USERS]),
    };
    let mut answers = storage::snapshot(&[
        select(STATE, params![new, "m.room.create"]),
        select(STATE, params![old, "m.room.tombstone"]),
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
        return Ok(());
    }
    for (user,) in users {
        match rules::copy_room(&user, old, new) {
            Ok(()) => {}
            // Too many rules, or a room's id that is none: the user is in the room all the same.
            Err(error) if error.http_status() < 500 => {
                log::warn(
                    "push rules of an upgraded room stay behind",
                    &[("user", &user), ("room", new), ("reason", error.message())],
                );
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
