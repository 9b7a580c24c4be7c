//! The rows that lists read (see `store/about.rs`) where commits have not kept them: of rooms from before there were such rows, of rooms that
//! began with a state of another server, and of those that a node of an older version has written into.
//!
//! A timer goes through all rooms and writes each row anew that is not of the room's state: at every start, so also at that of the last node that
//! is upgraded, and again soon where there was something to do. It never ends, since nobody tells when the last node of an older version has
//! stopped. Where all is quiet it comes once a day only: a timer wakes a tenant that sleeps.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, IntoValue, select};
use tessera_sdk::{clock, log, params, timers};

use crate::ids;
use crate::store::about::{TYPES, columns};

/// The timer's name.
pub const TIMER: &str = "about";
/// Rooms that are looked at in one query.
const PAGE: usize = 500;
/// Members that are looked at in one query.
const MEMBERS: u32 = 5_000;
/// A go ends after so long.
const GO_MS: u64 = 1_000;
/// Rest between two goes.
const REST_MS: u64 = 100;
/// All rooms are gone through again after so long, where rows were written or could not be.
pub const AGAIN_MS: u64 = 60_000;
/// And where none was: seldom, for each time wakes sleepers.
pub const QUIET_MS: u64 = 86_400_000;
/// How often a room that changes meanwhile is read again.
const ATTEMPTS: usize = 10;
/// How long to wait for the room's lock; correctness does not rest on it.
const LOCK_MS: u32 = 2_000;

/// How far the timer has come. Rooms of the public list come first: it is empty without.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Pass {
    /// All rooms, not only those of the public list.
    all: bool,
    /// The last room that was looked at.
    last: String,
    /// There were rows to be written.
    found: bool,
}

/// Has the timer go through all rooms from now on.
///
/// # Errors
/// The host's reason.
pub fn soon() -> Result<(), String> {
    timers::set(TIMER, clock::now_ms(), "")
}

/// Writes the row of a room that has just begun; if that fails, the timer is to do it.
pub fn now(room_id: &str) {
    if let Err(error) = fill(room_id) {
        let fields = [("room", room_id), ("reason", error.message())];
        log::warn("a room that began is not counted yet", &fields);
        if let Err(reason) = soon() {
            // It comes around by itself, too.
            log::warn("rooms are not counted at once", &[("reason", &reason)]);
        }
    }
}

/// One go: rooms after the last one. `payload`: a [`Pass`].
///
/// # Errors
/// Storage failed: the host fires again.
pub fn fire(payload: &str) -> Result<(), Error> {
    let began_ms = clock::now_ms();
    let mut pass: Pass = serde_json::from_str(payload).unwrap_or_default();
    let of = if pass.all { "" } else { " AND r.published = TRUE" };
    let sql = format!(
        "SELECT r.room_id AS room_id, r.state_group AS state_group, r.published AS published,
           a.state_group AS kept_group, a.published AS kept_published
         FROM rooms_rooms r LEFT JOIN rooms_about a ON a.room_id = r.room_id
         WHERE r.room_id > $1{of} ORDER BY r.room_id LIMIT $2"
    );
    let rooms = storage::query(&sql, params![&pass.last, u32::try_from(PAGE).unwrap_or(u32::MAX)])?
        .all::<(String, i64, bool, Option<i64>, Option<bool>)>()?;
    let mut ended = rooms.len() < PAGE;
    for (room_id, group, published, kept_group, kept_published) in rooms {
        if kept_group != Some(group) || kept_published != Some(published) {
            if clock::now_ms().saturating_sub(began_ms) > GO_MS {
                ended = false;
                break;
            }
            pass.found = true;
            if let Err(error) = fill(&room_id) {
                // Others are not to wait for it; its turn comes again.
                let fields = [("room", room_id.as_str()), ("reason", error.message())];
                log::warn("a room is not counted", &fields);
            }
        }
        pass.last = room_id;
    }
    let rest_ms = match (ended, pass.all) {
        (false, _) => REST_MS,
        (true, false) => {
            pass = Pass { all: true, found: pass.found, ..Pass::default() };
            REST_MS
        }
        (true, true) => {
            let found = std::mem::take(&mut pass).found;
            if found { AGAIN_MS } else { QUIET_MS }
        }
    };
    let payload = serde_json::to_string(&pass).map_err(Error::internal)?;
    timers::set(TIMER, clock::now_ms() + rest_ms, &payload).map_err(Error::internal)
}

/// Writes the row of a room anew.
///
/// # Errors
/// Storage failed, or the room changes all the time.
pub fn fill(room_id: &str) -> Result<(), Error> {
    storage::lock(&[format!("room:{room_id}")], LOCK_MS);
    let filled = locked(room_id);
    storage::unlock();
    filled
}

fn locked(room_id: &str) -> Result<(), Error> {
    let mut counted: Option<Counted> = None;
    for _ in 0..ATTEMPTS {
        let Some(group) = group(room_id)? else {
            return Ok(());
        };
        // Counting takes long: it is done again only if the state has changed, not with each message.
        let members = match counted.filter(|counted| counted.group == group) {
            Some(members) => members,
            None => Counted::of(room_id, group)?,
        };
        if write(room_id, &members)? {
            return Ok(());
        }
        counted = Some(members);
    }
    Err(storage::Error::Busy.into())
}

/// The state group of a room; none if there is no such room.
fn group(room_id: &str) -> Result<Option<i64>, Error> {
    let sql = "SELECT state_group FROM rooms_rooms WHERE room_id = $1";
    let row = storage::query(sql, params![room_id])?.first::<(i64,)>()?;
    Ok(row.map(|(group,)| group))
}

/// Writes the row if the room is the same before and after; whether it is.
fn write(room_id: &str, members: &Counted) -> Result<bool, Error> {
    let types: Vec<String> = TYPES.iter().map(|kind| (*kind).to_owned()).collect();
    let mut answers = storage::snapshot(&[
        select(
            "SELECT revision, published, state_group FROM rooms_rooms WHERE room_id = $1",
            params![room_id],
        ),
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
    let Some((revision, published, group)) = next()?.first::<(i64, bool, i64)>()? else {
        return Ok(true);
    };
    if group != members.group {
        return Ok(false);
    }
    let mut number = || Ok::<_, Error>(next()?.first::<(i64,)>()?.map_or(0, |(n,)| n));
    let (state_events, invited) = (number()?, number()?);
    let state = next()?.all::<(String, String)>()?;
    let mut told: Vec<_> = TYPES.iter().flat_map(|kind| columns(kind, &Map::new())).collect();
    for (kind, json) in &state {
        let event: Map<String, Json> = serde_json::from_str(json).map_err(Error::internal)?;
        let content = event.get("content").and_then(Json::as_object).cloned().unwrap_or_default();
        for (column, value) in columns(kind, &content) {
            told.retain(|(other, _)| *other != column);
            told.push((column, value));
        }
    }
    let mut names =
        vec!["published", "joined", "joined_local", "invited", "state_events", "state_group"];
    let mut values =
        params![room_id, published, members.all, members.local, invited, state_events, group];
    for (column, value) in told {
        names.push(column);
        values.push(value.into_value());
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
            // Who takes a room out of the list does not raise the revision.
            "UPDATE rooms_rooms SET revision = revision WHERE room_id = $1 AND revision = $2 AND published = $3",
            params![room_id, revision, published],
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

/// How many are in a room, and how many of them are of this server.
struct Counted {
    /// The state group before that was counted.
    group: i64,
    all: i64,
    local: i64,
}

impl Counted {
    fn of(room_id: &str, group: i64) -> Result<Self, Error> {
        let mut counted = Self { group, all: 0, local: 0 };
        let mut last = String::new();
        loop {
            let rows = storage::query(
                "SELECT user_id FROM rooms_memberships WHERE room_id = $1 AND membership = 'join' AND user_id > $2
                 ORDER BY user_id LIMIT $3",
                params![room_id, &last, MEMBERS],
            )?
            .all::<(String,)>()?;
            for (user,) in &rows {
                counted.all += 1;
                counted.local += i64::from(ids::is_local(user));
            }
            match rows.into_iter().next_back() {
                Some((user,)) => last = user,
                None => return Ok(counted),
            }
        }
    }
}
