//! Work that would be too much for the commit that asks for it: a timer does it, slice by slice.
//!
//! That commit leaves a row, each slice moves the row on or takes it away. The timer is set before the row is there, and again after:
//! none is lost.

use tessera_sdk::matrix::Error;
use tessera_sdk::{clock, log, timers};

use crate::{events, purged};

/// The timer.
pub(crate) const TIMER: &str = "later";
/// When it fires although nobody came to say that the row is there.
const FALLBACK_MS: u64 = 5_000;
/// Slices of one go, and how long it takes at most before the next one.
const SLICES: usize = 50;
const GO_MS: u64 = 1_000;
/// Rest between two goes.
const REST_MS: u64 = 100;

/// Sees to it that a row is found: called before the commit that makes it, and after.
pub(crate) fn serve(committed: bool) {
    let delay = if committed { 0 } else { FALLBACK_MS };
    if let Err(reason) = timers::set(TIMER, clock::now_ms().saturating_add(delay), "") {
        log::error("no timer for what is to be done later", &[("reason", &reason)]);
    }
}

/// One go.
///
/// # Errors
/// Storage: the host tries again.
pub(crate) fn fire() -> Result<(), Error> {
    let began_ms = clock::now_ms();
    for _ in 0..SLICES {
        if !(purged::slice()? || events::upgrade_slice()?) {
            return Ok(());
        }
        if clock::now_ms().saturating_sub(began_ms) > GO_MS {
            break;
        }
    }
    timers::set(TIMER, clock::now_ms().saturating_add(REST_MS), "")
        .map_err(|error| Error::internal(format!("timer: {error}")))
}
