//! `m.direct`: which rooms are direct chats, and with whom.

use serde_json::{Map, Value, json};
use tessera_sdk::services::{self, AccountsError};

const DIRECT: &str = "m.direct";

/// Notes a room as a direct chat of `user` with `other`, unless it is noted already.
///
/// # Errors
/// It could not be done now.
pub(crate) fn mark(user: &str, other: &str, room: &str) -> Result<(), String> {
    let reason = |error: AccountsError| format!("{DIRECT}: {error:?}");
    let before = match services::account_data(user, None, DIRECT) {
        Ok(content) => content,
        Err(AccountsError::NotFound) => None,
        Err(error) => return Err(reason(error)),
    };
    let before = before.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    match with(before, other, room) {
        Some(now) => {
            services::put_account_data(user, None, DIRECT, &now.to_string()).map_err(reason)
        }
        None => Ok(()),
    }
}

/// The content with the room in it; none if it was there.
fn with(mut content: Map<String, Value>, other: &str, room: &str) -> Option<Value> {
    let rooms = content.entry(other).or_insert_with(|| json!([]));
    if !rooms.is_array() {
        *rooms = json!([]);
    }
    let rooms = rooms.as_array_mut()?;
    if rooms.iter().any(|known| known == room) {
        return None;
    }
    rooms.push(room.into());
    Some(Value::Object(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(before: Value) -> Option<Value> {
        with(before.as_object().cloned().unwrap(), "@bob:hs1", "!new")
    }

    #[test]
    fn room_is_added_to_those_with_the_same_person() {
        assert_eq!(marked(json!({})), Some(json!({"@bob:hs1": ["!new"]})));
        let before = json!({"@bob:hs1": ["!old"], "@eve:hs1": ["!x"]});
        let after = json!({"@bob:hs1": ["!old", "!new"], "@eve:hs1": ["!x"]});
        assert_eq!(marked(before), Some(after));
    }

    #[test]
    fn known_room_changes_nothing() {
        assert_eq!(marked(json!({"@bob:hs1": ["!new"]})), None);
    }

    #[test]
    fn nonsense_of_a_client_is_replaced() {
        assert_eq!(marked(json!({"@bob:hs1": 7})), Some(json!({"@bob:hs1": ["!new"]})));
    }
}
