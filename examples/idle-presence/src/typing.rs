//! PUT /rooms/{roomId}/typing/{userId}

use serde::Deserialize;
use tessera_sdk::{
    clock,
    http::{Answer, Request, Result},
    matrix::Error,
    params,
    storage::{self, Batch, position, select},
    timers,
};

use crate::{rooms, seen};

/// Timers that end typing are called this and the room.
pub(crate) const TIMER: &str = "typing:";
/// Where the client names no time, and the longest that it may name.
const DEFAULT_MS: u64 = 30_000;
const MAX_MS: u64 = 120_000;

#[derive(Deserialize)]
struct Body {
    typing: bool,
    timeout: Option<u64>,
}

/// # Errors
/// `M_FORBIDDEN` for another user or outside the room.
pub(crate) fn put(request: &Request) -> Result {
    let (user, room) = (request.user()?, request.param("roomId"));
    if user != request.param("userId") {
        return Err(Error::forbidden("you can only say of yourself that you type"));
    }
    let body: Body = request.json()?;
    let now = clock::now_ms();
    let read = storage::snapshot(&[
        rooms::membership(user, room),
        select(
            "SELECT until_ms FROM presence_typing WHERE room_id = $1 AND user_id = $2",
            params![room, user],
        ),
    ])?;
    let mut answers = read.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    rooms::member(&next()?)?;
    let row: Option<(u64,)> = next()?.first()?;
    let types = row.is_some_and(|(until,)| until > now);
    if !types && !body.typing {
        return Answer::empty();
    }
    let until = match body.typing {
        true => now.saturating_add(body.timeout.unwrap_or(DEFAULT_MS).min(MAX_MS)),
        false => 0,
    };
    let mut batch = Batch::new().relaxed();
    let first = batch.take_positions(1);
    // Who goes on typing keeps the position: that is no news. The row decides, so that it does not matter when it was read.
    batch = batch.run(
        "INSERT INTO presence_typing (room_id, user_id, until_ms, position) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (room_id, user_id) DO UPDATE SET until_ms = excluded.until_ms, \
         position = CASE WHEN presence_typing.until_ms > 0 AND excluded.until_ms > 0 \
         THEN presence_typing.position ELSE excluded.position END",
        params![room, user, until, position(first)],
    );
    if !(types && body.typing) {
        batch = batch.wake(format!("room:{room}"));
    }
    seen::note(batch, user)?.commit_blind()?;
    if until > 0 {
        ends_at(room, until)?;
    }
    Answer::empty()
}

/// Sets the room's timer to the first end, `or` if there is none.
fn ends_at(room: &str, or: u64) -> std::result::Result<(), Error> {
    let first: Option<(Option<u64>,)> = storage::query(
        "SELECT min(until_ms) FROM presence_typing WHERE room_id = $1 AND until_ms > 0",
        params![room],
    )?
    .first()?;
    let due = first.and_then(|(first,)| first).unwrap_or(or);
    timers::set(&format!("{TIMER}{room}"), due, "").map_err(Error::internal)
}

/// Tells a room who no longer types.
///
/// # Errors
/// Storage failed: the timer fires again.
pub(crate) fn expire(room: &str) -> std::result::Result<(), Error> {
    let now = clock::now_ms();
    let typists: Vec<(String, u64)> = storage::query(
        "SELECT user_id, until_ms FROM presence_typing WHERE room_id = $1 AND until_ms > 0",
        params![room],
    )?
    .all()?;
    let (over, left): (Vec<_>, Vec<_>) = typists.into_iter().partition(|(_, until)| *until <= now);
    if !over.is_empty() {
        let mut batch = Batch::new().relaxed();
        let first = batch.take_positions(u32::try_from(over.len()).unwrap_or(u32::MAX));
        let ended = (first..)
            .zip(over)
            .map(|(n, (user, until))| params![room, user, until, position(n)])
            .collect();
        batch
            .run_many(
                "UPDATE presence_typing SET until_ms = 0, position = $4 \
                 WHERE room_id = $1 AND user_id = $2 AND until_ms = $3",
                ended,
            )
            .wake(format!("room:{room}"))
            .commit_blind()?;
    }
    match left.into_iter().map(|(_, until)| until).min() {
        Some(next) => ends_at(room, next),
        None => Ok(()),
    }
}
