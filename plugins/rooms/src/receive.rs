//! Events of other servers: into the room, wherever their place in the graph is.
//! Spec: server-server API, Checks performed on receipt of a PDU. What becomes of them: `tessera:services/rooms.receive`.

mod look;
mod merge;
mod outliers;
mod placing;
mod policy;
mod with_state;

use std::sync::Arc;

use ruma::state_res::Event as _;
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage;
use tessera_sdk::{log, params};

use self::look::Look;
pub use self::look::{Missing, acl_allows};
pub use self::merge::merge;
pub use self::outliers::receive_outliers;
use self::placing::{Given, place};
pub use self::with_state::receive_with_state;
use crate::core::incoming::{self, Incoming};
use crate::core::{StoredEvent, Version};
use crate::store::idle;

/// Most events of one call.
pub const MOST: usize = 50;
/// A room with more ends than this has some of them merged, once in so many events: each event is held against all ends.
const MOST_ENDS: usize = 50;
const MERGE_EVERY: usize = 5;
/// How often a lost race for the room is run again.
const ATTEMPTS: usize = 20;
/// How long to wait for the room's lock; correctness does not rest on it.
const LOCK_MS: u32 = 2_000;

const OTHER_ROOM: &str = "an event of another room has this id";

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has its place in the room.
    Accepted,
    /// It was known.
    Duplicate,
    /// It is malformed, or the rules refuse it.
    Rejected(String),
    /// It is kept and not shown.
    SoftFailed(String),
    /// These are needed first.
    Needs(Missing),
}

/// An event that was received: its id and what became of it.
pub type Received = (String, Outcome);

/// The version of a known room.
fn version_of(room_id: &str) -> Result<Option<Version>, Error> {
    let rows =
        storage::query("SELECT version FROM rooms_rooms WHERE room_id = $1", params![room_id])?;
    let name = rows.first::<(String,)>()?;
    Ok(name.and_then(|(name,)| Version::named(&name)))
}

/// Takes events into a room, oldest first.
///
/// # Errors
/// `M_NOT_FOUND` if there is no such room here; too many events; storage, or the room is too busy.
pub fn receive(room_id: &str, origin: &str, events: &[String]) -> Result<Vec<Received>, Error> {
    if events.len() > MOST {
        return Err(Error::invalid_param(format!("at most {MOST} events can be received at once")));
    }
    let version =
        version_of(room_id)?.ok_or_else(|| Error::not_found("there is no such room here"))?;
    events.iter().map(|json| one(&version, room_id, origin, json)).collect()
}

fn one(version: &Version, room_id: &str, origin: &str, json: &str) -> Result<Received, Error> {
    match incoming::read(version, room_id, json) {
        Ok(incoming) => {
            let outcome = settle(version, room_id, origin, &incoming, None)?;
            Ok((incoming.event.id().to_owned(), outcome))
        }
        Err(reason) => Ok((String::new(), Outcome::Rejected(reason))),
    }
}

/// Brings an event to its place: reads, decides, commits; again if somebody was faster. `given`: the state before it, where
/// what it follows is not known.
fn settle(
    version: &Version,
    room_id: &str,
    origin: &str,
    incoming: &Incoming,
    given: Option<&Given>,
) -> Result<Outcome, Error> {
    let mut heard: Option<Result<(), String>> = None;
    let mut locked = false;
    for _ in 0..ATTEMPTS {
        if !locked {
            storage::lock(&[format!("room:{room_id}")], LOCK_MS);
            locked = true;
        }
        let look = Look::take(version, room_id, incoming)?;
        if look.known.as_ref().is_some_and(|known| !known.is_of(room_id)) {
            return Ok(Outcome::Rejected(OTHER_ROOM.to_owned()));
        }
        if look.is_duplicate(&incoming.event) {
            return Ok(Outcome::Duplicate);
        }
        if let Some(acl) = &look.acl
            && !acl.allows(origin)
        {
            return Ok(Outcome::Rejected(format!("the room does not allow {origin}")));
        }
        if let Some(missing) = look.missing(incoming, given.is_some()) {
            return Ok(Outcome::Needs(missing));
        }
        let Some(placed) = place(&look, incoming, given, heard.as_ref())? else {
            // The rules allow it: modules are asked, without the lock.
            storage::unlock();
            locked = false;
            heard = Some(policy::ask(&look, incoming)?);
            continue;
        };
        match placed.batch.commit() {
            Ok(_) => {
                if placed.leaves_idle {
                    idle::later();
                }
                let joins = merge::is_merge(&incoming.event);
                if placed.ends > MOST_ENDS && placed.ends % MERGE_EVERY == 1 && !joins {
                    storage::unlock();
                    merge::by_anybody(room_id);
                }
                return Ok(placed.outcome);
            }
            Err(storage::Error::Conflict(_)) => {}
            // A repetition meets the same: the event is to hold up nothing else of the call.
            Err(error @ (storage::Error::Invalid(_) | storage::Error::TooLarge(_))) => {
                let (error, event) = (error.to_string(), incoming.event.id());
                log::warn("an event cannot be stored", &[("event", event), ("error", &error)]);
                return Ok(Outcome::Rejected("the event cannot be stored here".to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    log::warn("a room is too busy", &[("room", room_id)]);
    Err(Error::new(ErrorCode::Unknown, "the room is busy; try again").status(503))
}

/// What a redaction redacts, where its room version has it.
fn redacts(version: &Version, event: &StoredEvent) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Content {
        redacts: String,
    }
    if event.kind() != "m.room.redaction" || event.state_key().is_some() {
        return None;
    }
    if version.redacts_in_content() {
        return event.content_as::<Content>().map(|content| content.redacts);
    }
    event.redacts().map(ToString::to_string)
}

/// Events by the type and key that they are state of.
fn state_of(events: &[Arc<StoredEvent>]) -> crate::core::State {
    events.iter().cloned().collect()
}
