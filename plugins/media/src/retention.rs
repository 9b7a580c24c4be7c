//! Files that go because the events that name them are old (MSC1763), or because a room's files take too much.
//!
//! A room ends what somebody uploaded and named in it, and only while nothing younger names it: no event of another room that is still to
//! be kept, no state that is in force, no profile. What others name in a room of theirs is not ended by it: who may see a file could else
//! delete it. Encrypted events name nothing that is seen here.

mod mentions;
mod policy;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, select};
use tessera_sdk::{clock, crypto, params, timers};

use self::policy::{Policies, Policy};
use crate::config::{self, Config};
use crate::place::Place;
use crate::store::files::{self, COLUMNS, File};

/// The timer's name.
pub(crate) const TIMER: &str = "retention";

/// Files and rooms that are looked at in one round, and rooms of one page: what takes a few calls to the host each.
const ROUND: usize = 300;
const ROOMS_OF_ROUND: usize = 500;
const ROOMS: u32 = 100;
/// Files of one page.
const PAGE: u32 = 100;
/// Other rooms that name a file and are looked at; one that more rooms name stays.
const OTHERS: u32 = 1_000;

/// Where a pass over all rooms stands.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Cursor {
    /// Rooms up to this one are done.
    done: String,
    /// In this one, files up to these are.
    room: String,
    ms: u64,
    id: String,
}

/// Sees to it that a pass begins, or goes on, if anything is to be kept for a time only.
pub(crate) fn begin(config: &Config) -> Result<(), Error> {
    if !policy::any(config) {
        return Ok(());
    }
    timers::set(TIMER, clock::now_ms(), "").map_err(Error::internal)
}

/// One round. Sets the timer again until the pass is at its end.
pub(crate) fn run() -> Result<(), Error> {
    let config = config::checked()?;
    if !policy::any(&config) {
        return Ok(());
    }
    // Nothing is ended before all is known that names it.
    let ended = mentions::catch_up()? && pass(&config)?;
    match ended {
        true => Ok(()),
        false => {
            timers::set(TIMER, clock::now_ms().saturating_add(1_000), "").map_err(Error::internal)
        }
    }
}

/// A round of a pass; whether it came to the end.
fn pass(config: &Config) -> Result<bool, Error> {
    let mut cursor = load()?;
    let mut policies = Policies::new(config);
    let mut left = ROUND;
    for _ in 0..ROOMS_OF_ROUND / ROOMS as usize {
        let rooms: Vec<(String,)> = storage::query(
            "SELECT DISTINCT room_id FROM media_mentions WHERE room_id > $1 ORDER BY room_id LIMIT $2",
            params![&cursor.done, ROOMS],
        )?
        .all()?;
        let rooms: Vec<String> = rooms.into_iter().map(|(room,)| room).collect();
        let last = rooms.len() < ROOMS as usize;
        policies.learn(&rooms)?;
        let there = there(&rooms)?;
        for room in rooms {
            let policy = policies.of(&room);
            if policy.is_none() && !there.contains(&room) {
                forget(&room)?;
            } else if !one(&room, policy, &mut policies, &mut cursor, &mut left)? {
                save(&cursor)?;
                return Ok(false);
            }
            cursor = Cursor { done: room, ..Cursor::default() };
        }
        if last {
            save(&Cursor::default())?;
            return Ok(true);
        }
        save(&cursor)?;
    }
    Ok(false)
}

/// Goes through the files of a room. False: there is more than this round takes.
fn one(
    room: &str,
    policy: Policy,
    policies: &mut Policies<'_>,
    cursor: &mut Cursor,
    left: &mut usize,
) -> Result<bool, Error> {
    if cursor.room != room {
        *cursor = Cursor { room: room.to_owned(), ..take_done(cursor) };
    }
    let mut over = match policy.bytes {
        Some(bytes) => taken(room)?.saturating_sub(bytes),
        None => 0,
    };
    let now = clock::now_ms();
    let before = policy.age_ms.map_or(0, |age| now.saturating_sub(age));
    if before == 0 && over == 0 {
        return Ok(true);
    }
    loop {
        // The oldest first.
        let page: Vec<(String, u64)> = storage::query(
            "SELECT media_id, newest_ms FROM media_mentions WHERE room_id = $1 AND own = TRUE \
             AND (newest_ms, media_id) > ($2, $3) ORDER BY newest_ms, media_id LIMIT $4",
            params![room, cursor.ms, &cursor.id, PAGE],
        )?
        .all()?;
        let last = page.len() < PAGE as usize;
        for (id, newest_ms) in page {
            if newest_ms >= before && over == 0 {
                return Ok(true);
            }
            if *left == 0 {
                return Ok(false);
            }
            *left -= 1;
            over = over.saturating_sub(ended(&id, room, policies)?);
            (cursor.ms, cursor.id) = (newest_ms, id);
        }
        if last {
            return Ok(true);
        }
    }
}

fn take_done(cursor: &mut Cursor) -> Cursor {
    Cursor { done: std::mem::take(&mut cursor.done), ..Cursor::default() }
}

/// Deletes a file unless something else keeps it; the bytes that this frees.
fn ended(id: &str, room: &str, policies: &mut Policies<'_>) -> Result<u64, Error> {
    let place = Place { origin: crypto::tenant_name(), id: id.to_owned() };
    let mut answers = storage::snapshot(&[
        select(
            &format!("SELECT {COLUMNS} FROM media_files WHERE origin = $1 AND media_id = $2"),
            params![&place.origin, id],
        ),
        select(
            "SELECT m.room_id, m.newest_ms FROM media_mentions m \
             JOIN rooms_v1_rooms r ON r.room_id = m.room_id \
             WHERE m.media_id = $1 AND m.room_id <> $2 LIMIT $3",
            params![id, room, OTHERS],
        ),
        // Not by the id of the event that was read last: after a fork another one may be in force.
        select(
            "SELECT count(*) AS n FROM media_places p JOIN rooms_v1_current_state s \
             ON s.room_id = p.room_id AND s.type = p.type AND s.state_key = p.state_key \
             WHERE p.media_id = $1 AND replace(s.json, $2, '') <> s.json",
            params![id, place.uri()],
        ),
        select("SELECT position FROM media_progress WHERE name = $1", params![mentions::NAME]),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let file: Option<File> = next()?.first()?;
    let others: Vec<(String, u64)> = next()?.all()?;
    let in_force: Option<(u64,)> = next()?.first()?;
    let known: Option<(i64,)> = next()?.first()?;
    let Some(file) = file else {
        files::unmention(Batch::new(), id).commit_blind()?;
        return Ok(0);
    };
    let spared = file.preview
        || file.protected
        || file.quarantined_by.is_some()
        || file.uploaded_ms == 0
        || in_force.is_some_and(|(n,)| n > 0)
        || others.len() >= OTHERS as usize
        || kept_elsewhere(&others, policies)?;
    // What was sent since the index was brought up to date counts, too.
    let known = known.map_or(-1, |(position,)| position);
    if spared || !files::delete_unnamed(&place, known)? {
        return Ok(0);
    }
    Ok(file.size)
}

fn kept_elsewhere(others: &[(String, u64)], policies: &mut Policies<'_>) -> Result<bool, Error> {
    let rooms: Vec<String> = others.iter().map(|(room, _)| room.clone()).collect();
    policies.learn(&rooms)?;
    let now = clock::now_ms();
    Ok(others.iter().any(|(room, newest_ms)| {
        policies.of(room).age_ms.is_none_or(|age| *newest_ms >= now.saturating_sub(age))
    }))
}

/// Bytes of what a room's events name and it could end.
fn taken(room: &str) -> Result<u64, Error> {
    let bytes: Option<(Option<u64>,)> = storage::query(
        "SELECT sum(f.size) AS bytes FROM media_mentions m \
         JOIN media_files f ON f.origin = $2 AND f.media_id = m.media_id \
         WHERE m.room_id = $1 AND m.own = TRUE",
        params![room, crypto::tenant_name()],
    )?
    .first()?;
    Ok(bytes.and_then(|(bytes,)| bytes).unwrap_or(0))
}

/// Those of these rooms that there still are.
fn there(rooms: &[String]) -> Result<HashSet<String>, Error> {
    let found: Vec<(String,)> = storage::query(
        "SELECT room_id FROM rooms_v1_rooms WHERE room_id IN ($1)",
        params![rooms.to_vec()],
    )?
    .all()?;
    Ok(found.into_iter().map(|(room,)| room).collect())
}

/// A room is gone, and nothing ends what it named.
fn forget(room: &str) -> Result<(), Error> {
    Batch::new()
        .run("DELETE FROM media_mentions WHERE room_id = $1", params![room])
        .run("DELETE FROM media_places WHERE room_id = $1", params![room])
        .commit_blind()?;
    Ok(())
}

const PASS: &str = "pass";

fn load() -> Result<Cursor, Error> {
    let state: Option<(String,)> =
        storage::query("SELECT state FROM media_progress WHERE name = $1", params![PASS])?
            .first()?;
    // One of another version begins anew.
    Ok(state.and_then(|(state,)| serde_json::from_str(&state).ok()).unwrap_or_default())
}

fn save(cursor: &Cursor) -> Result<(), Error> {
    let state = serde_json::to_string(cursor).map_err(Error::internal)?;
    Batch::new()
        .run(
            "INSERT INTO media_progress (name, position, state) VALUES ($1, 0, $2) \
             ON CONFLICT (name) DO UPDATE SET state = excluded.state",
            params![PASS, state],
        )
        .commit_blind()?;
    Ok(())
}
