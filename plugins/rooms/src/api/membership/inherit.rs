//! What a user said of a room holds for the one that replaces it: its tags, and that it is a direct chat.
//!
//! Spec: client-server API, Room upgrades, leaves it to servers; clients expect it from them.

use serde_json::{Map, Value};
use tessera_sdk::matrix::Error;
use tessera_sdk::services::{self, AccountsError};
use tessera_sdk::storage::{self, select};
use tessera_sdk::{log, params};

/// How often direct chats that another device changes meanwhile are read again.
const ATTEMPTS: usize = 5;

/// Carries a user's settings over from the room that this one replaces. What stands against it is logged: the user is in the room.
pub(crate) fn carry_over(room_id: &str, user: &str) {
    let carried = match predecessor(room_id, user) {
        Ok(Some(old)) => carry(user, &old, room_id).map_err(|error| format!("{error:?}")),
        Ok(None) => return,
        Err(error) => Err(error.to_string()),
    };
    if let Err(reason) = carried {
        log::warn(
            "settings of an upgraded room stay behind",
            &[("room", room_id), ("reason", &reason)],
        );
    }
}

/// The room before this one, if it says so itself and the user was in it.
fn predecessor(room_id: &str, user: &str) -> Result<Option<String>, Error> {
    let state =
        "SELECT e.json FROM rooms_current_state s JOIN rooms_events e ON e.position = s.position
         WHERE s.room_id = $1 AND s.type = $2 AND s.state_key = ''";
    let create = storage::query(state, params![room_id, "m.room.create"])?.first::<(String,)>()?;
    let named = create.and_then(|(json,)| {
        let predecessor = content(&json)?.remove("predecessor")?;
        predecessor.get("room_id")?.as_str().map(str::to_owned)
    });
    let Some(old) = named else {
        return Ok(None);
    };
    let mut answers = storage::snapshot(&[
        select(state, params![&old, "m.room.tombstone"]),
        select(
            "SELECT membership FROM rooms_memberships WHERE room_id = $1 AND user_id = $2",
            params![&old, user],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let tombstone = next()?.first::<(String,)>()?.and_then(|(json,)| content(&json));
    let led_here = tombstone.is_some_and(|content| {
        content.get("replacement_room").and_then(Value::as_str) == Some(room_id)
    });
    let was_there = next()?.first::<(String,)>()?.is_some();
    Ok((led_here && was_there).then_some(old))
}

fn content(json: &str) -> Option<Map<String, Value>> {
    let mut event: Map<String, Value> = serde_json::from_str(json).ok()?;
    match event.remove("content")? {
        Value::Object(content) => Some(content),
        _ => None,
    }
}

fn carry(user: &str, old: &str, new: &str) -> Result<(), AccountsError> {
    if let Some(tags) = services::account_data(user, Some(old), "m.tag")? {
        // Where the user has tagged the new room already, that holds.
        services::swap_account_data(user, Some(new), "m.tag", None, &tags)?;
    }
    for _ in 0..ATTEMPTS {
        if add_direct(user, old, new)? {
            return Ok(());
        }
    }
    log::warn("direct chats change all the time", &[("user", user)]);
    Ok(())
}

/// Adds the new room to the direct chats that the old one is; false: they were changed meanwhile.
fn add_direct(user: &str, old: &str, new: &str) -> Result<bool, AccountsError> {
    let before = services::account_data(user, None, "m.direct")?;
    let direct = before.as_deref();
    let direct = direct.and_then(|json| serde_json::from_str::<Map<String, Value>>(json).ok());
    let Some(mut direct) = direct else {
        return Ok(true);
    };
    let mut changed = false;
    for rooms in direct.values_mut().filter_map(Value::as_array_mut) {
        let has = |room: &str| rooms.iter().any(|known| known == room);
        if has(old) && !has(new) {
            rooms.push(new.into());
            changed = true;
        }
    }
    if !changed {
        return Ok(true);
    }
    let direct = Value::Object(direct).to_string();
    services::swap_account_data(user, None, "m.direct", before.as_deref(), &direct)
}
