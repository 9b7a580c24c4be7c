//! Rooms get the row that lists read (see `store/about.rs`) if they have none: those from before there were such rows, and those that
//! began with a state of another server.

use serde_json::{Map, Value as Json};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, IntoValue, select};
use tessera_sdk::{clock, log, params, timers};

use crate::ids;
use crate::store::about::{TYPES, columns};

/// The timer's name.
pub const TIMER: &str = "about";
/// Rooms of one go.
const PAGE: u32 = 50;
/// Members that are looked at in one query.
const MEMBERS: u32 = 5_000;
/// Rest between two goes.
const REST_MS: u64 = 100;
/// How often a room that changes meanwhile is read again.
const ATTEMPTS: usize = 10;

/// Has the filling begin. Costs one look if there is nothing to be done.
///
/// # Errors
/// The host's reason.
pub fn soon() -> Result<(), String> {
    timers::set(TIMER, clock::now_ms(), "")
}

/// One go: rooms after the one of the payload.
///
/// # Errors
/// Storage failed: the host fires again.
pub fn fire(last: &str) -> Result<(), Error> {
    let rooms = storage::query(
        "SELECT r.room_id AS room_id FROM rooms_rooms r WHERE r.room_id > $1
           AND NOT EXISTS (SELECT a.room_id FROM rooms_about a WHERE a.room_id = r.room_id)
         ORDER BY room_id LIMIT $2",
        params![last, PAGE],
    )?
    .all::<(String,)>()?;
    let Some((end,)) = rooms.last() else {
        return Ok(());
    };
    for (room_id,) in &rooms {
        fill(room_id)?;
    }
    timers::set(TIMER, clock::now_ms() + REST_MS, end).map_err(Error::internal)
}

/// Writes the row of a room anew.
///
/// # Errors
/// Storage failed, or the room changes all the time.
pub fn fill(room_id: &str) -> Result<(), Error> {
    for _ in 0..ATTEMPTS {
        if try_fill(room_id)? {
            return Ok(());
        }
    }
    log::warn("a room is too busy to be counted", &[("room", room_id)]);
    Err(storage::Error::Busy.into())
}

/// Whether the room was the same before and after.
fn try_fill(room_id: &str) -> Result<bool, Error> {
    let types: Vec<String> = TYPES.iter().map(|kind| (*kind).to_owned()).collect();
    let mut answers = storage::snapshot(&[
        select("SELECT revision, published FROM rooms_rooms WHERE room_id = $1", params![room_id]),
        select(
            "SELECT COUNT(event_id) AS n FROM rooms_current_state WHERE room_id = $1",
            params![room_id],
        ),
        select(
            "SELECT COUNT(user_id) AS n FROM rooms_memberships WHERE room_id = $1 AND membership = 'invite'",
            params![room_id],
        ),
        select(
            "SELECT s.type, e.json FROM rooms_current_state s JOIN rooms_events e ON e.position = s.position
             WHERE s.room_id = $1 AND s.type IN ($2) AND s.state_key = ''",
            params![room_id, types],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let Some((revision, published)) = next()?.first::<(i64, bool)>()? else {
        return Ok(true);
    };
    let mut number = || Ok::<_, Error>(next()?.first::<(i64,)>()?.map_or(0, |(n,)| n));
    let (state_events, invited) = (number()?, number()?);
    let state = next()?.all::<(String, String)>()?;
    let (joined, joined_local) = members(room_id)?;
    let mut names = vec!["published", "joined", "joined_local", "invited", "state_events"];
    let mut values = params![room_id, published, joined, joined_local, invited, state_events];
    for (kind, json) in &state {
        let event: Map<String, Json> = serde_json::from_str(json).map_err(Error::internal)?;
        let content = event.get("content").and_then(Json::as_object).cloned().unwrap_or_default();
        for (column, value) in columns(kind, &content) {
            names.push(column);
            values.push(value.into_value());
        }
    }
    let places: Vec<String> = (1..=values.len()).map(|n| format!("${n}")).collect();
    let sets: Vec<String> = names.iter().map(|name| format!("{name} = excluded.{name}")).collect();
    let sql = format!(
        "INSERT INTO rooms_about (room_id, {}) VALUES ({}) ON CONFLICT (room_id) DO UPDATE SET {}",
        names.join(", "),
        places.join(", "),
        sets.join(", ")
    );
    let filled = Batch::new()
        .run(
            "UPDATE rooms_rooms SET revision = revision WHERE room_id = $1 AND revision = $2",
            params![room_id, revision],
        )
        .expect(1)
        .run(&sql, values)
        .commit();
    match filled {
        Ok(_) => Ok(true),
        Err(storage::Error::Conflict(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// How many are in the room, and how many of them are of this server.
fn members(room_id: &str) -> Result<(i64, i64), Error> {
    let (mut all, mut local) = (0, 0);
    let mut last = String::new();
    loop {
        let rows = storage::query(
            "SELECT user_id FROM rooms_memberships WHERE room_id = $1 AND membership = 'join' AND user_id > $2
             ORDER BY user_id LIMIT $3",
            params![room_id, &last, MEMBERS],
        )?
        .all::<(String,)>()?;
        for (user,) in &rows {
            all += 1;
            local += i64::from(ids::is_local(user));
        }
        match rows.into_iter().next_back() {
            Some((user,)) => last = user,
            None => return Ok((all, local)),
        }
    }
}
