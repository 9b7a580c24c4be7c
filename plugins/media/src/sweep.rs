//! What runs out: media ids that nobody filled, files that nobody looks at, previews, blobs that nobody names. Once an hour, and again at
//! once where there is more than one round takes.

use tessera_sdk::matrix::Error;
use tessera_sdk::storage;
use tessera_sdk::{clock, params, timers};

use crate::config;
use crate::place::Place;
use crate::preview;
use crate::store::{blobs, files};

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
    let more = [pending()?, retention()?, preview::sweep(ROUND)?, blobs::sweep(ROUND)?]
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

fn retention() -> Result<usize, Error> {
    let days = config::checked()?.retention_local_days;
    if days == 0 {
        return Ok(0);
    }
    let before = clock::now_ms().saturating_sub(days.saturating_mul(86_400_000));
    delete(storage::query(
        "SELECT origin, media_id FROM media_files WHERE seen_ms < $1 AND uploaded_ms > 0 \
         AND preview = FALSE AND protected = FALSE AND quarantined_by IS NULL \
         ORDER BY seen_ms LIMIT $2",
        params![before, ROUND],
    )?)
}

fn delete(rows: storage::Rows) -> Result<usize, Error> {
    let found: Vec<(String, String)> = rows.all()?;
    let count = found.len();
    for (origin, id) in found {
        files::delete(&Place { origin, id })?;
    }
    Ok(count)
}
