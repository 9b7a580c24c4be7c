//! Endpoints that old clients still use, and how events looked then.
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync>

pub(crate) mod event;
pub(crate) mod room;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tessera_sdk::matrix::Error;

use crate::near::Presence;
use crate::sync::ephemeral;

/// Members of `unsigned` that stood at the top of an event.
const TOP: [&str; 4] = ["age", "prev_content", "replaces_state", "redacted_because"];

/// An event as old clients know it: the sender is `user_id`, too, and what is `unsigned` stands at the top as well.
///
/// # Errors
/// Cannot happen to what was written.
pub(crate) fn event(raw: &RawValue) -> Result<Value, Error> {
    let mut event: Map<String, Value> = serde_json::from_str(raw.get()).map_err(Error::internal)?;
    if let Some(sender) = event.get("sender").cloned() {
        event.insert("user_id".to_owned(), sender);
    }
    for name in TOP {
        if let Some(value) = event.get("unsigned").and_then(|unsigned| unsigned.get(name)).cloned()
        {
            event.insert(name.to_owned(), value);
        }
    }
    Ok(Value::Object(event))
}

/// All of them.
///
/// # Errors
/// As [`event`].
pub(crate) fn events(list: &[Box<RawValue>]) -> Result<Vec<Value>, Error> {
    list.iter().map(|raw| event(raw)).collect()
}

/// An event without an id, such as typing, with its room.
///
/// # Errors
/// As [`event`].
pub(crate) fn of_room(raw: &RawValue, room_id: &str) -> Result<Value, Error> {
    let mut event: Map<String, Value> = serde_json::from_str(raw.get()).map_err(Error::internal)?;
    event.insert("room_id".to_owned(), Value::from(room_id));
    Ok(Value::Object(event))
}

/// Presence, which named its user in the content.
///
/// # Errors
/// As [`event`].
pub(crate) fn presence(row: Presence, now_ms: i64) -> Result<Value, Error> {
    let user = row.0.clone();
    let raw = ephemeral::presence(row, now_ms)?;
    let mut event: Value = serde_json::from_str(raw.get()).map_err(Error::internal)?;
    if let Some(content) = event.get_mut("content").and_then(Value::as_object_mut) {
        content.insert("user_id".to_owned(), Value::from(user));
    }
    Ok(event)
}
