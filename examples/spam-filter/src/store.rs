//! The tables.

use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, Error};

/// Notes that a user sent a text; how often they have within the window, this time included. A crash may forget it.
pub(crate) fn sent(sender: &str, digest: &str, now_ms: u64, window_ms: u64) -> Result<u64, Error> {
    let (now, since) = (integer(now_ms), integer(now_ms.saturating_sub(window_ms)));
    let committed = Batch::new()
        .run(
            "INSERT INTO spamfilter_texts (sender, digest, times, first_ms) VALUES ($1, $2, 1, $3) \
             ON CONFLICT (sender, digest) DO UPDATE SET \
             times = CASE WHEN spamfilter_texts.first_ms < $4 THEN 1 ELSE spamfilter_texts.times + 1 END, \
             first_ms = CASE WHEN spamfilter_texts.first_ms < $4 THEN $3 ELSE spamfilter_texts.first_ms END \
             RETURNING times",
            params![sender, digest, now, since],
        )
        .relaxed()
        .commit_blind()?;
    let times = committed.returned.into_iter().next().and_then(|rows| rows.first().ok().flatten());
    let (times,): (i64,) = times.unwrap_or((1,));
    Ok(u64::try_from(times).unwrap_or(1))
}

/// Counts a refusal.
pub(crate) fn refused(sender: &str, now_ms: u64) -> Result<(), Error> {
    Batch::new()
        .run(
            "INSERT INTO spamfilter_refusals (sender, times, last_ms) VALUES ($1, 1, $2) \
             ON CONFLICT (sender) DO UPDATE SET times = spamfilter_refusals.times + 1, last_ms = $2",
            params![sender, integer(now_ms)],
        )
        .relaxed()
        .commit_blind()
        .map(|_| ())
}

/// Forgets texts first sent before a moment.
pub(crate) fn forget(before_ms: u64) -> Result<(), Error> {
    Batch::new()
        .run("DELETE FROM spamfilter_texts WHERE first_ms < $1", params![integer(before_ms)])
        .commit_blind()
        .map(|_| ())
}

/// Who was refused most: user, how often, when last.
pub(crate) fn refusals(limit: u32) -> Result<Vec<(String, i64, i64)>, String> {
    let rows = storage::query(
        "SELECT sender, times, last_ms FROM spamfilter_refusals ORDER BY times DESC, sender LIMIT $1",
        params![i64::from(limit)],
    );
    rows.map_err(|error| format!("{error:?}"))?.all().map_err(|error| error.to_string())
}

/// Forgets everything about a user; whether there was a refusal.
pub(crate) fn forgive(sender: &str) -> Result<bool, Error> {
    let committed = Batch::new()
        .run("DELETE FROM spamfilter_refusals WHERE sender = $1", params![sender])
        .run("DELETE FROM spamfilter_texts WHERE sender = $1", params![sender])
        .commit_blind()?;
    Ok(committed.affected.first().is_some_and(|rows| *rows > 0))
}

fn integer(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
