//! GET /_matrix/client/v3/sync
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>
//!
//! Storage calls: one for the rooms to watch, one snapshot of all that is new, and one more where that asks for state,
//! members or what redactions, edits and threads add.

mod ask;
mod draft;
mod ephemeral;
mod fill;
mod read;
mod response;
mod rooms;
mod state;

use tessera_sdk::http::{Answer, Parked, Request, Result};
use tessera_sdk::{bus, clock};

use ask::Ask;

/// Topics of one watch; see `tessera:host/bus`. Rooms past it are seen when the client comes back.
const MAX_WATCHED: usize = 16_000;

/// Answers, or parks where there is nothing new and the client wants to wait.
///
/// # Errors
/// `M_INVALID_PARAM` for a malformed token or parameter; `M_NOT_JSON`, `M_BAD_JSON` for a malformed filter;
/// `M_NOT_FOUND` for an unknown filter id.
pub fn handle(request: &Request) -> Result {
    run(Ask::from_request(request)?, false)
}

/// Looks again after a wake-up, or answers when the time is over.
///
/// # Errors
/// As [`handle`].
pub fn resume(parked: &Parked) -> Result {
    run(Ask::from_parked(parked)?, parked.timed_out)
}

fn run(mut ask: Ask, timed_out: bool) -> Result {
    let (filter, joined, horizon) = read::basics(&ask)?;
    // Taken before looking, so that nothing falls between.
    let watch = ask.since.is_some().then(|| {
        (bus::watch(&topics(&ask, joined)), bus::watch(&[read::PROGRESS_TOPIC.to_owned()]))
    });
    let news = read::news(&ask, &filter, horizon)?;
    let now = clock::now_ms();
    let over = now >= ask.deadline_ms || (timed_out && ask.held_until_ms.is_none());

    if let (Some((_, progress)), Some(until)) = (watch, news.wants_hold(&ask, now)) {
        ask.held_until_ms = Some(until);
        return ask.park(progress, until.saturating_sub(now));
    }
    let response = rooms::assemble(&ask, &filter, news)?;
    match watch {
        Some((watch, _)) if response.is_empty() && !over && !ask.full_state => {
            ask.held_until_ms = None;
            let wait = ask.deadline_ms.saturating_sub(now);
            ask.park(watch, wait)
        }
        _ => Answer::json(&response),
    }
}

fn topics(ask: &Ask, joined: Vec<String>) -> Vec<String> {
    let rooms = joined.into_iter().take(MAX_WATCHED).map(|room| format!("room:{room}"));
    std::iter::once(format!("user:{}", ask.user)).chain(rooms).collect()
}
