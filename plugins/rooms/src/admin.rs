//! What administrators of this server do with rooms. The endpoints are in `api/admin`.

pub mod delete;
pub mod history;
pub mod jobs;

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, select};
use tessera_sdk::{http::Request, params};

use crate::asker::Asker;

/// Lets only administrators through.
///
/// # Errors
/// `M_FORBIDDEN`, `M_MISSING_TOKEN`.
pub fn only(request: &Request) -> Result<Asker, Error> {
    let asker = Asker::of(request)?;
    if asker.who().admin {
        return Ok(asker);
    }
    Err(Error::forbidden("only an administrator of this server may do this"))
}

/// Whether a room that is not known here must not begin: it is blocked, or about to be deleted.
///
/// # Errors
/// Storage failed.
pub fn closed(room_id: &str) -> Result<bool, Error> {
    let answers = storage::snapshot(&[
        select("SELECT room_id FROM rooms_blocked WHERE room_id = $1", params![room_id]),
        select(
            "SELECT room_id FROM rooms_purges WHERE room_id = $1 AND done = FALSE AND kind = 'room' LIMIT 1",
            params![room_id],
        ),
    ])?
    .answers();
    for rows in answers {
        if rows.first::<(String,)>()?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a room is known here.
///
/// # Errors
/// Storage failed.
pub fn known(room_id: &str) -> Result<bool, Error> {
    let rows =
        storage::query("SELECT version FROM rooms_rooms WHERE room_id = $1", params![room_id])?;
    Ok(rows.first::<(String,)>()?.is_some())
}

/// The room of a path, if it is known here.
///
/// # Errors
/// `M_INVALID_PARAM`, `M_NOT_FOUND`.
pub fn room<'a>(request: &'a Request, name: &str) -> Result<&'a str, Error> {
    let room_id = crate::ids::room(request.param(name))?;
    if known(room_id)? { Ok(room_id) } else { Err(Error::not_found("there is no such room here")) }
}
