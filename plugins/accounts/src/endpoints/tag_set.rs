//! `PUT` and `DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidtagstag
//! https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3useruseridroomsroomidtagstag

use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use super::tags;
use crate::account_data::{self, Failure};
use crate::ids;

/// Bytes of a tag's name. Spec: Room Tagging, Events.
const MAX_NAME: usize = 255;
/// Tags of one room.
const MAX_TAGS: usize = 1000;
/// Bytes of what a tag says; the specification knows `order`.
const MAX_TAG: usize = 4096;
/// Two devices may tag at the same moment; more than this many hardly do.
const TRIES: usize = 5;

/// Tags a room. `M_INVALID_PARAM` for a name that is too long, `M_BAD_JSON` for an order that is no number, `M_TOO_LARGE`.
pub fn set(request: &Request) -> Result {
    let body: Map<String, Value> = request.json()?;
    if body.get("order").is_some_and(|order| !order.is_number()) {
        return Err(Error::bad_json("order is a number"));
    }
    if request.body().len() > MAX_TAG {
        return Err(Error::too_large(format!("a tag has at most {MAX_TAG} bytes")));
    }
    let tag = request.param("tag");
    if tag.is_empty() || tag.len() > MAX_NAME {
        return Err(Error::invalid_param(format!("tags have 1 to {MAX_NAME} bytes")));
    }
    change(request, |tags| {
        tags.insert(tag.to_owned(), Value::Object(body.clone()));
        if tags.len() > MAX_TAGS {
            return Err(Error::too_large("too many tags"));
        }
        Ok(())
    })
}

/// Takes a tag off a room. No error if it is not there.
pub fn delete(request: &Request) -> Result {
    change(request, |tags| {
        tags.remove(request.param("tag"));
        Ok(())
    })
}

/// Tags a room for a user, unless it is so tagged.
///
/// # Errors
/// `M_TOO_LARGE` where there is too much account data, storage.
pub fn put(user: &str, room: &str, tag: &str) -> std::result::Result<(), Error> {
    edit(user, room, |tags| {
        tags.entry(tag).or_insert_with(|| json!({}));
        Ok(())
    })
}

fn change(
    request: &Request,
    change: impl Fn(&mut Map<String, Value>) -> std::result::Result<(), Error>,
) -> Result {
    let user = request.user()?;
    ids::own(user, request.param("userId"))?;
    edit(user, ids::room_in_path(request.param("roomId"))?, change)?;
    Answer::empty()
}

fn edit(
    user: &str,
    room: &str,
    change: impl Fn(&mut Map<String, Value>) -> std::result::Result<(), Error>,
) -> std::result::Result<(), Error> {
    for _ in 0..TRIES {
        let (before, at) = tags::read(user, room)?;
        let mut after = before.clone();
        change(&mut after)?;
        if after == before {
            return Ok(());
        }
        let content = json!({ "tags": after }).to_string();
        match account_data::replace(user, room, tags::KIND, at, &content) {
            Ok(()) => return Ok(()),
            Err(Failure::Conflict) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    Err(Failure::Conflict.into())
}
