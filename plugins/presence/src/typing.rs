//! PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid>

use serde::Deserialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, Failure, position, race, select};
use tessera_sdk::{clock, params, timers};

use crate::{room, seen};

/// Timers that end typing are called this and the room.
pub(crate) const TIMER_PREFIX: &str = "typing:";
/// Longest name of a timer, in bytes; see `tessera:host/timers`.
const MAX_TIMER_NAME: usize = 255;
/// Where the client names no time.
const DEFAULT_MS: u64 = 30_000;
/// The longest that one request keeps somebody typing: a client that is gone should not seem to type on.
const MAX_MS: u64 = 120_000;

/// How often it is said when the room's timer ends typing at the same moment.
const TRIES: usize = 3;

/// Who types, or has stopped without anybody having been told.
const TYPING: &str =
    "SELECT user_id, until_ms FROM presence_typing WHERE room_id = $1 AND until_ms > 0";

/// Who stopped before the position `$2` of what is news now. The newest row of a room tells whoever comes back that something changed,
/// and who types are rows of their own: all others are of no use any more.
const OVER: &str =
    "DELETE FROM presence_typing WHERE room_id = $1 AND until_ms = 0 AND position < $2";

#[derive(Deserialize)]
struct Body {
    typing: bool,
    timeout: Option<u64>,
}

/// # Errors
/// `M_FORBIDDEN` for another user or outside the room.
pub(crate) fn handle(request: &Request) -> Result {
    let (user, room_id) = (request.user()?, request.param("roomId"));
    if user != request.param("userId") {
        return Err(Error::forbidden("you can only say of yourself that you type"));
    }
    let body: Body = request.json()?;
    race(TRIES, || say(user, room_id, &body))?;
    Answer::empty()
}

/// A conflict: the room's timer was quicker, and the user does not type any more.
fn say(user: &str, room_id: &str, body: &Body) -> std::result::Result<(), Failure> {
    let rows =
        storage::snapshot(&[room::select_joined(user, room_id), select(TYPING, params![room_id])])?;
    let mut answers = rows.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    room::require_joined(&next()?)?;
    let typing: Vec<(String, u64)> = next()?.all()?;

    let now = clock::now_ms();
    let until = match body.typing {
        true => now.saturating_add(body.timeout.unwrap_or(DEFAULT_MS).min(MAX_MS)),
        false => 0,
    };
    let was_typing = typing.iter().any(|(typist, until)| typist == user && *until > now);
    if !was_typing && until == 0 {
        return Ok(());
    }
    // Somebody who goes on typing is no news: the row keeps its position and nobody is woken.
    let mut batch = Batch::new().relaxed();
    if was_typing && until > 0 {
        batch = batch
            .run(
                "UPDATE presence_typing SET until_ms = $3 \
                 WHERE room_id = $1 AND user_id = $2 AND until_ms > 0",
                params![room_id, user, until],
            )
            .expect(1);
    } else {
        let first = batch.take_positions(1);
        batch = batch
            .run(
                "INSERT INTO presence_typing (room_id, user_id, until_ms, position) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (room_id, user_id) DO UPDATE \
                 SET until_ms = excluded.until_ms, position = excluded.position",
                params![room_id, user, until, position(first)],
            )
            .run(OVER, params![room_id, position(first)])
            .wake(room::topic(room_id));
    }
    seen::note(batch, user)?.commit().map_err(Failure::of)?;
    if until > 0 && !was_typing {
        // One timer serves the room: it stands at whoever runs out first, and is set again for those who are left.
        let first = typing.iter().map(|(_, until)| *until).min();
        let due = first.map_or(until, |first| first.min(until));
        set_timer(room_id, due)?;
    }
    Ok(())
}

/// Sets the room's timer. An id that is too long for a timer's name stands in what the timer carries.
fn set_timer(room_id: &str, due: u64) -> std::result::Result<(), Error> {
    let name = format!("{TIMER_PREFIX}{room_id}");
    let set = if name.len() <= MAX_TIMER_NAME {
        timers::set(&name, due, "")
    } else {
        // FNV-1a.
        let hash = room_id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        timers::set(&format!("{TIMER_PREFIX}{hash:016x}"), due, room_id)
    };
    set.map_err(Error::internal)
}

/// Tells a room who no longer types. Called by the room's timer.
///
/// # Errors
/// Storage failed: the timer fires again.
pub(crate) fn expire(room_id: &str) -> std::result::Result<(), Error> {
    let now = clock::now_ms();
    let typing: Vec<(String, u64)> = storage::query(TYPING, params![room_id])?.all()?;
    let (over, left): (Vec<_>, Vec<_>) = typing.into_iter().partition(|(_, until)| *until <= now);
    if !over.is_empty() {
        let mut batch = Batch::new().relaxed();
        let first = batch.take_positions(u32::try_from(over.len()).unwrap_or(u32::MAX));
        let rows = (first..)
            .zip(over)
            .map(|(n, (user, until))| params![room_id, user, until, position(n)])
            .collect();
        // Who has begun anew in the meantime has another time, and stays.
        batch
            .run(OVER, params![room_id, position(first)])
            .run_many(
                "UPDATE presence_typing SET until_ms = 0, position = $4 \
                 WHERE room_id = $1 AND user_id = $2 AND until_ms = $3",
                rows,
            )
            .wake(room::topic(room_id))
            .commit_blind()?;
    }
    if let Some(next) = left.into_iter().map(|(_, until)| until).min() {
        set_timer(room_id, next)?;
    }
    Ok(())
}
