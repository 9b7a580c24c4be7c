//! `GET` and `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidaccount_datatype
//! https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidaccount_datatype

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use super::global_account_data::{is_servers, refuse};
use crate::{account_data, ids};

/// The user's own entry for a room. 404 `M_NOT_FOUND`.
pub fn get(request: &Request) -> Result {
    let user = request.user()?;
    ids::own(user, request.param("userId"))?;
    let room = ids::room_in_path(request.param("roomId"))?;
    match account_data::get(user, room, request.param("type"))? {
        Some((content, _)) => Ok(Answer::raw_json(200, content.into_bytes())),
        None => Err(Error::not_found("no such account data")),
    }
}

/// Stores an entry of the user's own for a room, whether or not they are in it. Errors as for global ones.
pub fn set(request: &Request) -> Result {
    let user = request.user()?;
    ids::own(user, request.param("userId"))?;
    let room = ids::room_in_path(request.param("roomId"))?;
    let kind = request.param("type");
    if is_servers(kind) {
        return Err(refuse(kind));
    }
    let content = account_data::check(request.body())?;
    account_data::put(user, room, kind, &content)?;
    Answer::empty()
}
