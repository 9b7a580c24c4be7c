//! All events of a user are taken back: by a timer, in slices, so that it goes on after a restart.

mod slice;

use serde_json::{Map, Value};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch, query};
use tessera_sdk::{clock, params, random, timers};

/// The timer's name.
pub const TIMER: &str = "redactions";
/// Jobs under way.
const MAX_JOBS: i64 = 100;
/// Rooms that are named.
const MAX_ROOMS: usize = 10_000;
/// Events of one room, unless it is said, newest first.
pub const EVENTS: u64 = 1000;
/// How long a job that is done can be asked about.
const KNOWN_MS: u64 = 7 * 24 * 3_600_000;
/// When a job that was stored begins at the latest, should its timer be lost with its request.
const LATEST_MS: u64 = 60_000;
/// How long one call works, and the rest between two.
const WORK_MS: u64 = 5_000;
const REST_MS: u64 = 100;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Whose events.
    pub user: String,
    /// Who asks.
    pub admin: String,
    /// Whether the administrator redacts even where the user could.
    pub by_admin: bool,
    /// In every redaction; may be empty.
    pub reason: String,
    /// Where; empty: in all rooms where the user is, or is banned.
    pub rooms: Vec<String>,
    /// Of each room.
    pub most: u64,
    /// Only events from then on, in milliseconds since the Unix epoch.
    pub after_ms: u64,
    /// Only events up to then.
    pub before_ms: u64,
}

/// Begins; the job's id.
///
/// # Errors
/// 400 `M_UNKNOWN` if the user's events are being redacted already, `M_LIMIT_EXCEEDED` for too many jobs, `M_TOO_LARGE` for too many rooms, storage.
pub fn begin(wish: &Wish) -> Result<String, Error> {
    let sql = "SELECT id FROM accounts_redactions WHERE user_id = $1 AND done = FALSE";
    if query(sql, params![&wish.user])?.first::<(String,)>()?.is_some() {
        return Err(under_way());
    }
    let sql = "SELECT COUNT(*) FROM accounts_redactions WHERE done = FALSE";
    if query(sql, params![])?.first::<(i64,)>()?.is_some_and(|(count,)| count >= MAX_JOBS) {
        return Err(Error::limit_exceeded(LATEST_MS));
    }
    if wish.rooms.len() > MAX_ROOMS {
        return Err(Error::too_large(format!("at most {MAX_ROOMS} rooms at once")));
    }
    let (id, now) = (random::letters(16), clock::now_ms());
    let rooms = serde_json::to_string(&wish.rooms).map_err(Error::internal)?;
    timers::set(TIMER, now + LATEST_MS, "").map_err(Error::internal)?;
    let begun = Batch::new()
        .run(
            "DELETE FROM accounts_redacting WHERE user_id = $1 AND NOT EXISTS \
             (SELECT r.id FROM accounts_redactions AS r WHERE r.user_id = $1 AND r.done = FALSE)",
            params![&wish.user],
        )
        .run(
            "INSERT INTO accounts_redacting (user_id, id) VALUES ($1, $2)",
            params![&wish.user, &id],
        )
        .run(
            "DELETE FROM accounts_redactions WHERE done = TRUE AND created_ms < $1",
            params![now.saturating_sub(KNOWN_MS)],
        )
        .run(
            "INSERT INTO accounts_redactions (id, user_id, admin_id, by_admin, reason, rooms, below, found, most, \
             after_ms, before_ms, failed, done, created_ms, revision, everywhere) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, $10, '{}', FALSE, $11, 0, $12)",
            params![
                &id,
                &wish.user,
                &wish.admin,
                wish.by_admin,
                &wish.reason,
                rooms,
                i64::MAX,
                wish.most,
                wish.after_ms,
                wish.before_ms,
                now,
                wish.rooms.is_empty()
            ],
        )
        .commit();
    match begun {
        Ok(_) => {}
        // Another request at the same moment.
        Err(storage::Error::Conflict(1)) => return Err(under_way()),
        Err(error) => return Err(error.into()),
    }
    timers::set(TIMER, now, "").map_err(Error::internal)?;
    Ok(id)
}

fn under_way() -> Error {
    let text = "events of this user are being redacted already";
    Error::new(ErrorCode::Unknown, text).status(400)
}

/// How a job is.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// There is nothing left to be done.
    pub done: bool,
    /// By event, what went wrong.
    pub failed: Map<String, Value>,
}

/// How a job is. `None`: there is no such job.
///
/// # Errors
/// Storage.
pub fn state(id: &str) -> Result<Option<State>, Error> {
    let sql = "SELECT done, failed FROM accounts_redactions WHERE id = $1";
    let Some((done, failed)) = query(sql, params![id])?.first::<(bool, String)>()? else {
        return Ok(None);
    };
    Ok(Some(State { done, failed: serde_json::from_str(&failed).map_err(Error::internal)? }))
}

/// Works for a while, at one job after the other; called by the timer.
///
/// # Errors
/// Storage failed: the host fires again.
pub fn run() -> Result<(), Error> {
    let end = clock::now_ms() + WORK_MS;
    while slice::one()? {
        if clock::now_ms() >= end {
            return timers::set(TIMER, clock::now_ms() + REST_MS, "").map_err(Error::internal);
        }
    }
    // What failed waits for its next try.
    let sql =
        "SELECT resume_ms FROM accounts_redactions WHERE done = FALSE ORDER BY resume_ms LIMIT 1";
    match query(sql, params![])?.first::<(u64,)>()? {
        Some((at,)) => timers::set(TIMER, at.max(clock::now_ms()), "").map_err(Error::internal),
        None => Ok(()),
    }
}
