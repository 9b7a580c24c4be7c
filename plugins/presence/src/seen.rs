//! Who was active when, and who falls idle: from online to unavailable, then offline.
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#presence>

use std::collections::BTreeSet;

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, Select, position, select};
use tessera_sdk::{clock, crypto, params, timers};

use crate::config::{Config, configured};

/// The timer that looks for who falls idle.
pub(crate) const TIMER: &str = "idle";
/// Users of one look; the next follows at once.
const AT_ONCE: i64 = 200;
/// Users that are woken for one change; others see it when they sync next.
const MAX_WOKEN: i64 = 1000;

/// Memberships that are looked at for them: rooms overlap, and one of a hundred thousand members has its price.
const MAX_LOOKED_AT: i64 = 4 * MAX_WOKEN;

/// Which local users see a user's presence. In the order of rooms: those of the first rooms where the user has very many.
pub(crate) fn watchers(user: &str) -> Select {
    let suffix = format!(":{}", crypto::tenant_name());
    let length = i64::try_from(suffix.chars().count()).unwrap_or(i64::MAX);
    select(
        "SELECT s.user_id FROM (SELECT b.user_id AS user_id FROM rooms_v1_memberships a \
         JOIN rooms_v1_memberships b ON b.room_id = a.room_id \
         WHERE a.user_id = $1 AND a.membership = 'join' AND b.membership = 'join' \
         AND LENGTH(b.user_id) > $2 AND SUBSTR(b.user_id, LENGTH(b.user_id) - $2 + 1) = $3 LIMIT $4) s \
         UNION SELECT r.user_id FROM (SELECT r.viewer AS user_id FROM presence_routes r \
         WHERE r.user_id = $1 AND r.wanted = TRUE LIMIT $5) r LIMIT $5",
        params![user, length, suffix, MAX_LOOKED_AT, MAX_WOKEN],
    )
}

/// When `presence` ends by itself; 0: never.
pub(crate) fn falls(config: &Config, presence: &str, now: u64) -> u64 {
    match presence {
        "online" => now.saturating_add(config.idle_after_ms),
        "unavailable" => now.saturating_add(config.offline_after_ms),
        _ => 0,
    }
}

/// Adds to a batch that the user did something: typed or read. Only who is online stays it for longer.
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
        "UPDATE presence_seen SET active_ms = $2, falls_ms = $3 WHERE user_id = $1 AND falls_ms > 0 \
         AND EXISTS (SELECT 1 FROM presence_status p WHERE p.user_id = $1 AND p.presence = 'online')",
        params![user, now, now.saturating_add(config.idle_after_ms)],
    ))
}

/// Adds to a batch that the user said to be so.
pub(crate) fn said(batch: Batch, user: &str, now: u64, falls: u64) -> Batch {
    batch.run(
        "INSERT INTO presence_seen (user_id, active_ms, falls_ms) VALUES ($1, $2, $3) \
         ON CONFLICT (user_id) DO UPDATE SET active_ms = excluded.active_ms, falls_ms = excluded.falls_ms",
        params![user, now, falls],
    )
}

/// Sets the timer to the first who falls.
///
/// # Errors
/// Storage failed.
pub(crate) fn set_timer() -> Result<(), Error> {
    let first: Option<(Option<u64>,)> =
        storage::query("SELECT MIN(falls_ms) FROM presence_seen WHERE falls_ms > 0", params![])?
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
    let config = configured()?;
    let now = clock::now_ms();
    let due: Vec<(String, u64, String)> = storage::query(
        "SELECT s.user_id, s.falls_ms, p.presence FROM presence_seen s JOIN presence_status p ON p.user_id = s.user_id \
         WHERE s.falls_ms > 0 AND s.falls_ms <= $1 ORDER BY s.falls_ms LIMIT $2",
        params![now, AT_ONCE],
    )?
    .all()?;
    for (user, falls_ms, presence) in due {
        let next = if presence == "online" { "unavailable" } else { "offline" };
        let told: Vec<(String,)> = storage::snapshot(&[watchers(&user)])?
            .answers()
            .next()
            .ok_or_else(|| Error::internal("an answer is missing"))?
            .all()?;
        let woken: BTreeSet<String> =
            told.into_iter().map(|(viewer,)| viewer).chain([user.clone()]).collect();
        let mut batch = Batch::new().relaxed();
        let first = batch.take_positions(1);
        batch = batch
            .run(
                "UPDATE presence_seen SET falls_ms = $3 WHERE user_id = $1 AND falls_ms = $2",
                params![&user, falls_ms, falls(&config, next, now)],
            )
            // Who was active in the meantime stays.
            .expect(1)
            .run(
                "UPDATE presence_status SET presence = $2, currently_active = FALSE, position = $3, \
                 last_active_ms = COALESCE((SELECT s.active_ms FROM presence_seen s WHERE s.user_id = $1), last_active_ms) \
                 WHERE user_id = $1",
                params![&user, next, position(first)],
            );
        for viewer in woken {
            batch = batch.wake(format!("user:{viewer}"));
        }
        match batch.commit() {
            Ok(_) | Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    set_timer()
}
