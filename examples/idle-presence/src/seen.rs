//! Who was active when, and who falls idle.

use tessera_sdk::{
    clock,
    matrix::Error,
    params,
    storage::{self, Batch, position},
    timers,
};

use crate::{configured, rooms};

/// The timer that looks for who falls idle.
pub(crate) const TIMER: &str = "idle";
/// Users of one look; the next follows at once.
const AT_ONCE: i64 = 200;
/// Users that are woken for one change; others see it when they sync next.
const MAX_WOKEN: i64 = 1000;

/// Adds to a batch that the user is active now.
///
/// # Errors
/// The configuration cannot be read.
pub(crate) fn note(batch: Batch, user: &str) -> Result<Batch, Error> {
    let config = configured()?;
    if !config.enabled {
        return Ok(batch);
    }
    let now = clock::now_ms();
    Ok(batch.run(
        "UPDATE presence_seen SET active_ms = $2, falls_ms = $3 WHERE user_id = $1 AND falls_ms > 0",
        params![user, now, now.saturating_add(config.idle_after_ms)],
    ))
}

/// When `presence` ends by itself; 0: never.
///
/// # Errors
/// The configuration cannot be read.
pub(crate) fn falls(presence: &str, now: u64) -> Result<u64, Error> {
    let config = configured()?;
    Ok(match presence {
        "online" => now.saturating_add(config.idle_after_ms),
        "unavailable" => now.saturating_add(config.offline_after_ms),
        _ => 0,
    })
}

/// Sets the timer to the first who falls.
///
/// # Errors
/// Storage failed.
pub(crate) fn set_timer() -> Result<(), Error> {
    let first: Option<(Option<u64>,)> =
        storage::query("SELECT min(falls_ms) FROM presence_seen WHERE falls_ms > 0", params![])?
            .first()?;
    match first.and_then(|(first,)| first) {
        Some(due) => timers::set(TIMER, due, "").map_err(Error::internal),
        None => Ok(()),
    }
}

/// Lets fall who was not active for long enough, and tells who sees it.
///
/// # Errors
/// Storage failed: the timer fires again.
pub(crate) fn sweep() -> Result<(), Error> {
    let now = clock::now_ms();
    let due: Vec<(String, u64, String)> = storage::query(
        "SELECT s.user_id, s.falls_ms, p.presence FROM presence_seen s JOIN presence_status p ON p.user_id = s.user_id \
         WHERE s.falls_ms > 0 AND s.falls_ms <= $1 ORDER BY s.falls_ms LIMIT $2",
        params![now, AT_ONCE],
    )?
    .all()?;
    for (user, falls_ms, presence) in due {
        let next = if presence == "online" { "unavailable" } else { "offline" };
        let told: Vec<(String,)> = storage::snapshot(&[rooms::viewers(&user, MAX_WOKEN)])?
            .answers()
            .next()
            .ok_or_else(|| Error::internal("an answer is missing"))?
            .all()?;
        let mut batch = Batch::new().relaxed();
        let first = batch.take_positions(1);
        batch = batch
            .run(
                "UPDATE presence_seen SET falls_ms = $3 WHERE user_id = $1 AND falls_ms = $2",
                params![&user, falls_ms, falls(next, now)?],
            )
            // Who was active in the meantime stays.
            .expect(1)
            .run(
                "UPDATE presence_status SET presence = $2, currently_active = FALSE, position = $3 WHERE user_id = $1",
                params![&user, next, position(first)],
            )
            .wake(format!("user:{user}"));
        for (viewer,) in told {
            batch = batch.wake(format!("user:{viewer}"));
        }
        match batch.commit() {
            Ok(_) | Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    set_timer()
}
