//! History that goes: events of a room below a position.

use serde::{Deserialize, Serialize};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage;

use super::jobs::{Progress, Purged, Slice};
use crate::store::purge;

/// What goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wish {
    /// Events below this position.
    pub before: i64,
    /// Those of users of this server, too.
    pub delete_local: bool,
}

/// Up to where: what lies below an event.
///
/// # Errors
/// `M_NOT_FOUND`; 400 `M_UNKNOWN` for an event of another room.
pub fn before_event(room_id: &str, event_id: &str) -> Result<i64, Error> {
    let rows = storage::query(
        "SELECT room_id, position FROM rooms_events WHERE event_id = $1 AND outlier = FALSE",
        params![event_id],
    )?;
    let none = || Error::not_found("there is no such event here");
    let (room, position) = rows.first::<(String, i64)>()?.ok_or_else(none)?;
    if room != room_id {
        let code = tessera_sdk::matrix::ErrorCode::Unknown;
        return Err(Error::new(code, "the event is of another room").status(400));
    }
    Ok(position)
}

/// Up to where: what lies below the first event of that time (milliseconds since the Unix epoch) or later, or else below the newest one. Other servers
/// may say what they like of the time of their events: what claims to be older than it is does not take what came before it along.
///
/// # Errors
/// `M_NOT_FOUND` where nothing would go.
pub fn before_time(room_id: &str, ts: i64) -> Result<i64, Error> {
    let first = |sql: &str, values| -> Result<Option<i64>, Error> {
        Ok(storage::query(sql, values)?.first::<(Option<i64>,)>()?.and_then(|(position,)| position))
    };
    let later = first(
        "SELECT MIN(position) AS p FROM rooms_events WHERE room_id = $1 AND origin_ts >= $2 AND stream = TRUE",
        params![room_id, ts],
    )?;
    let before = match later {
        Some(position) => Some(position),
        None => first(
            "SELECT MAX(position) AS p FROM rooms_events WHERE room_id = $1 AND stream = TRUE",
            params![room_id],
        )?,
    };
    let before = before.unwrap_or_default();
    let oldest = first(
        "SELECT MIN(position) AS p FROM rooms_events WHERE room_id = $1 AND stream = TRUE",
        params![room_id],
    )?;
    if oldest.is_some_and(|oldest| oldest < before) {
        return Ok(before);
    }
    Err(Error::not_found("there is no event to be purged"))
}

/// One slice.
///
/// # Errors
/// Storage failed.
pub fn slice(room_id: &str, wish: &Wish, progress: &mut Progress) -> Result<Slice, Error> {
    match purge::history(room_id, progress.from, wish.before, wish.delete_local)? {
        Some(from) => {
            progress.from = from;
            Ok(Slice::More)
        }
        None => {
            let purged = Purged { room_id: room_id.to_owned(), gone: false, before: wish.before };
            Ok(Slice::Done(Some(purged)))
        }
    }
}
