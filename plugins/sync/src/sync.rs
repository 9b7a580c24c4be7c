//! GET /_matrix/client/v3/sync
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>
//!
//! All rooms are told by [`whole`], everything else by [`look`].
//!
//! Storage calls: one for the rooms to watch (where the client may have to wait), one snapshot of all that is new, and one
//! more where that asks for state, members or what redactions, edits and threads add. Woken: a small one first, then the snapshot. All rooms:
//! one more for each part, to find how large they are.

mod ask;
mod crowd;
mod draft;
pub(crate) mod ephemeral;
mod fill;
pub(crate) mod initial;
mod queries;
pub(crate) mod read;
mod response;
mod rooms;
mod settle;
pub(crate) mod stream;
mod summary;
pub(crate) mod whole;

use tessera_sdk::http::{Answer, Parked, Request, Result};
use tessera_sdk::matrix::{ClientFormat, Error};
use tessera_sdk::{bus, clock, presentation};

use ask::Ask;
use queries::Path;
use read::Basics;
use response::Response;

use crate::budget::Failure;
use crate::filter::Filter;
use crate::online;

/// Topics of one watch; see `tessera:host/bus`. Rooms past it are seen when the client comes back.
const MAX_WATCHED: usize = 16_000;

/// What a look at the database gave.
enum Found {
    /// To be sent, or to be waited with.
    Answer(Answer),
    /// Nothing new up to this position; the answer that says so.
    Nothing(i64, Box<Response>),
}

/// Answers, or parks where there is nothing new and the client wants to wait.
///
/// # Errors
/// `M_INVALID_PARAM` for a malformed token or parameter; `M_NOT_JSON`, `M_BAD_JSON` for a malformed filter;
/// `M_NOT_FOUND` for an unknown filter id.
pub fn handle(request: &Request) -> Result {
    let mut ask = Ask::from_request(request)?;
    online::mark(request)?;
    if ask.may_park() {
        return watch_and_look(ask, true, false);
    }
    if let (None, Some(filter)) = (ask.since, read::known_filter(&ask)?) {
        return whole::answer(&ask, &filter);
    }
    let Basics { filter, joined, horizon } = read::basics(&ask)?;
    ask.rooms = joined.len();
    if ask.wants_all() {
        return whole::answer(&ask, &filter);
    }
    match look(&ask, &filter, Some(horizon), true)? {
        Found::Answer(answer) => Ok(answer),
        Found::Nothing(_, response) => response.answer(),
    }
}

/// Looks again after a wake-up, or answers when the time is over.
///
/// # Errors
/// As [`handle`].
pub fn resume(parked: &Parked) -> Result {
    let ask = Ask::from_parked(parked)?;
    let held = ask.held_until_ms.is_some();
    let over = clock::now_ms() >= ask.deadline_ms || (parked.timed_out && !held);
    let may_hold = !parked.timed_out;
    if may_hold && !held {
        // What woke is most often an event that push has not counted yet: find that out cheaply, and look once.
        let progress = bus::watch(&[read::PROGRESS_TOPIC.to_owned()]);
        let now = clock::now_ms();
        if let Some(until) = read::peek(&ask, now)? {
            return Ask { held_until_ms: Some(until), ..ask }.park(progress, until - now);
        }
    }
    let known = if Path::needs_gap(&ask) { None } else { read::known_filter(&ask)? };
    if let Some(filter) = known {
        match look(&ask, &filter, None, may_hold)? {
            Found::Answer(answer) => return Ok(answer),
            Found::Nothing(_, response) if over => return response.answer(),
            // Woken in vain: wait on.
            Found::Nothing(..) => {}
        }
    }
    watch_and_look(ask, may_hold, over)
}

fn watch_and_look(mut ask: Ask, may_hold: bool, over: bool) -> Result {
    let Basics { filter, joined, horizon } = read::basics(&ask)?;
    ask.rooms = joined.len();
    // Taken before looking, so that nothing falls between.
    let watch = (!over).then(|| bus::watch(&topics(&ask, joined)));
    if let Some(watch) = watch.filter(|_| ask.since == Some(horizon) && ask.to_device.is_none())
        && read::horizon()? == horizon
    {
        // Nothing at all has happened since the token: the usual case of a client that comes back at once.
        let wait = ask.deadline_ms.saturating_sub(clock::now_ms());
        return Ask { held_until_ms: None, ..ask }.park(watch, wait);
    }
    match (look(&ask, &filter, Some(horizon), may_hold)?, watch) {
        (Found::Answer(answer), _) => Ok(answer),
        (Found::Nothing(_, response), None) => response.answer(),
        (Found::Nothing(horizon, _), Some(watch)) => {
            // What was looked at need not be looked at again.
            let wait = ask.deadline_ms.saturating_sub(clock::now_ms());
            let ask = Ask { since: Some(horizon), to_device: None, held_until_ms: None, ..ask };
            ask.park(watch, wait)
        }
    }
}

/// Reads what is new, or where that is too much to be told at once, all.
fn look(
    ask: &Ask,
    filter: &Filter,
    horizon: Option<i64>,
    may_hold: bool,
) -> std::result::Result<Found, Error> {
    match look_for_news(ask, filter, horizon, may_hold) {
        Err(Failure::TooLarge) => {
            let ask = Ask { full_state: true, ..ask.clone() };
            Ok(Found::Answer(whole::answer(&ask, filter)?))
        }
        found => Ok(found?),
    }
}

/// Reads what is new. An answer whose unread counts are not there yet is put off for a moment, if it may be.
fn look_for_news(
    ask: &Ask,
    filter: &Filter,
    horizon: Option<i64>,
    may_hold: bool,
) -> std::result::Result<Found, Failure> {
    let progress =
        (may_hold && ask.since.is_some()).then(|| bus::watch(&[read::PROGRESS_TOPIC.to_owned()]));
    let news = read::news(ask, filter, horizon)?;
    if news.deltas.len() > queries::MAX_DELTAS {
        return Err(Failure::TooLarge);
    }
    let now = clock::now_ms();
    if let (Some(progress), Some(until)) = (progress, news.wants_hold(ask, now)) {
        let held = Ask { held_until_ms: Some(until), ..ask.clone() };
        return Ok(Found::Answer(held.park(progress, until.saturating_sub(now))?));
    }
    let horizon = news.horizon;
    let mut response = rooms::assemble(ask, filter, news, ClientFormat::WithoutRoomId)?;
    if response.is_empty() {
        return Ok(Found::Nothing(horizon, Box::new(response)));
    }
    if filter.shows_unsigned() {
        presentation::add_fields(response.events(), &ask.user);
    }
    Ok(Found::Answer(response.answer()?))
}

fn topics(ask: &Ask, joined: Vec<String>) -> Vec<String> {
    let rooms = joined.into_iter().take(MAX_WATCHED).map(|room| format!("room:{room}"));
    std::iter::once(format!("user:{}", ask.user)).chain(rooms).collect()
}
