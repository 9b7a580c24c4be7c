//! GET and PUT /directory/list/room/{roomId}.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid>
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid>
//!
//! Errors: `M_NOT_FOUND`, `M_FORBIDDEN`, `M_INVALID_PARAM`, what modules refuse.

use serde::{Deserialize, Serialize};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{hooks, params};

use super::aliases::may_name;
use crate::asker::Asker;
use crate::policy::{ROOM_POLICY, ROOM_RULES};
use crate::store::about::publish;
use crate::{api::body, ids};

#[derive(Serialize)]
struct Response {
    visibility: &'static str,
}

#[derive(Deserialize)]
struct Wish {
    visibility: Option<String>,
}

fn published(room_id: &str) -> std::result::Result<bool, Error> {
    let rows =
        storage::query("SELECT published FROM rooms_rooms WHERE room_id = $1", params![room_id])?;
    let row = rows.first::<(bool,)>()?;
    Ok(row.ok_or_else(|| Error::not_found("there is no such room here"))?.0)
}

/// Tells whether the room is listed.
pub fn get(request: &Request) -> Result {
    let listed = published(ids::room(request.param("roomId"))?)?;
    Answer::json(&Response { visibility: name(listed) })
}

/// Asks modules whether a user may list a room, or take it out.
///
/// # Errors
/// What they refuse.
pub(in crate::api) fn may_list(
    asker: &Asker,
    room_id: &str,
    listed: bool,
) -> std::result::Result<(), Error> {
    if listed && hooks::answered(ROOM_POLICY) {
        hooks::may_publish(asker.who(), room_id)?;
    }
    if hooks::answered(ROOM_RULES) {
        hooks::visibility_can_be_modified(asker.who(), room_id, name(listed))?;
    }
    Ok(())
}

fn name(listed: bool) -> &'static str {
    if listed { "public" } else { "private" }
}

/// Lists a room, or no longer, whoever asks.
///
/// # Errors
/// `M_NOT_FOUND`, `M_INVALID_PARAM`.
pub fn list(room_id: &str, listed: bool) -> std::result::Result<(), Error> {
    published(ids::room(room_id)?)?;
    publish(Batch::new(), room_id, listed).commit()?;
    Ok(())
}

/// Lists the room, or no longer.
pub fn put(request: &Request) -> Result {
    let room_id = ids::room(request.param("roomId"))?;
    let wish: Wish = body::of(request)?;
    let listed = match wish.visibility.as_deref() {
        None | Some("public") => true,
        Some("private") => false,
        Some(other) => {
            return Err(Error::invalid_param(format!("visibility {other:?} is unknown")));
        }
    };
    published(room_id)?;
    let asker = Asker::of(request)?;
    if !may_name(room_id, asker.user())? {
        return Err(Error::forbidden("not enough power to list the room"));
    }
    may_list(&asker, room_id, listed)?;
    if !asker.is_shadow_banned() {
        list(room_id, listed)?;
    }
    Answer::empty()
}
