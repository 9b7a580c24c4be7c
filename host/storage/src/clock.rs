//! The clock of what the database keeps.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch, as in timers, messages and dead letters.
#[must_use]
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
