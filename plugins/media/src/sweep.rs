//! What runs out: media ids that nobody filled, files that nobody looks at, previews, blobs that nobody names. Once an hour, and again at
//! once where there is more than one round takes.

use tessera_sdk::matrix::Error;
use tessera_sdk::storage;
use tessera_sdk::{clock, params, timers};

use crate::config;
use crate::place::Place;
use crate::store::{blobs, files};
use crate::{preview, retention};

/// The timer's name.
pub(crate) const TIMER: &str = "sweep";

const HOUR_MS: u64 = 3_600_000;
/// Rows of one kind in one round.
const ROUND: u32 = 200;

/// Sets the timer to the next full hour: so it does not matter how often this is said.
pub(crate) fn later() -> Result<(), String> {
    timers::set(TIMER, (clock::now_ms() / HOUR_MS + 1) * HOUR_MS, "")
}

/// One round.
pub(crate) fn run() -> Result<(), Error> {
    retention::begin(&config::checked()?)?;
    let more =
        [pending()?, unseen()?, unseen_of_users()?, preview::sweep(ROUND)?, blobs::sweep(ROUND)?]
            .into_iter()
            .any(|found| found >= ROUND as usize);
    let set = match more {
        true => timers::set(TIMER, clock::now_ms().saturating_add(1_000), ""),
        false => later(),
    };
    set.map_err(Error::internal)
}

fn pending() -> Result<usize, Error> {
    delete(storage::query(
        "SELECT origin, media_id FROM media_files WHERE expires_ms > 0 AND expires_ms <= $1 \
         ORDER BY expires_ms LIMIT $2",
        params![clock::now_ms(), ROUND],
    )?)
}

/// Files that nobody has looked at for long, but for those of users with a time of their own.
fn unseen() -> Result<usize, Error> {
    let config = config::checked()?;
    let Some(before) = days_ago(config.retention_local_days) else { return Ok(0) };
    let own = config.limits_by_user.iter().filter(|own| own.days.is_some());
    let own: Vec<String> = own.map(|own| own.user.clone()).collect();
    delete(storage::query(
        "SELECT origin, media_id FROM media_files WHERE seen_ms < $1 AND uploaded_ms > 0 \
         AND preview = FALSE AND protected = FALSE AND quarantined_by IS NULL \
         AND (user_id IS NULL OR user_id NOT IN ($3)) ORDER BY seen_ms LIMIT $2",
        params![before, ROUND, own],
    )?)
}

/// Those of users with a time of their own: so many of all of them together.
fn unseen_of_users() -> Result<usize, Error> {
    let mut left = ROUND;
    for own in &config::checked()?.limits_by_user {
        let Some(before) = own.days.and_then(days_ago) else { continue };
        let found = storage::query(
            "SELECT origin, media_id FROM media_files WHERE user_id = $1 AND seen_ms < $2 \
             AND uploaded_ms > 0 AND protected = FALSE AND quarantined_by IS NULL \
             ORDER BY created_ms LIMIT $3",
            params![&own.user, before, left],
        )?;
        left = left.saturating_sub(u32::try_from(delete(found)?).unwrap_or(u32::MAX));
        if left == 0 {
            break;
        }
    }
    Ok((ROUND - left) as usize)
}

/// None: no time is set.
fn days_ago(days: u64) -> Option<u64> {
    (days > 0).then(|| clock::now_ms().saturating_sub(days.saturating_mul(86_400_000)))
}

fn delete(rows: storage::Rows) -> Result<usize, Error> {
    let found: Vec<(String, String)> = rows.all()?;
    let count = found.len();
    for (origin, id) in found {
        files::delete(&Place { origin, id })?;
    }
    Ok(count)
}
