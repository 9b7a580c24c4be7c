//! `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidtags

use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use crate::{account_data, ids};

/// Account data that holds a room's tags.
pub const KIND: &str = "m.tag";

/// A room's tags.
pub fn handle(request: &Request) -> Result {
    let user = request.user()?;
    ids::own(user, request.param("userId"))?;
    let (tags, _) = read(user, ids::room_in_path(request.param("roomId"))?)?;
    Answer::json(&json!({ "tags": tags }))
}

/// A room's tags and the position of their last change; what is malformed counts as none.
///
/// # Errors
/// Storage.
pub fn read(
    user: &str,
    room: &str,
) -> std::result::Result<(Map<String, Value>, Option<u64>), Error> {
    let Some((content, at)) = account_data::get(user, room, KIND)? else {
        return Ok((Map::new(), None));
    };
    let mut content: Value = serde_json::from_str(&content).map_err(Error::internal)?;
    let tags = content.get_mut("tags").map(Value::take);
    Ok((tags.and_then(|tags| tags.as_object().cloned()).unwrap_or_default(), Some(at)))
}
