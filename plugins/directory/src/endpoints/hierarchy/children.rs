//! Rooms that a space names: `m.space.child` events.
//!
//! Spec: client-server API, m.space.child and Ordering of children within a space.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage;

/// Children of one level of the tree that are looked at.
const MAX_CHILDREN: u32 = 5_000;

/// A child, as clients are told of it: a stripped state event with its time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Child {
    #[serde(rename = "type")]
    kind: String,
    /// The child's room id.
    pub(super) state_key: String,
    sender: String,
    content: Map<String, Value>,
    origin_server_ts: i64,
}

impl Child {
    /// Children without servers to reach them by are no children.
    fn is_valid(&self) -> bool {
        let via = self.content.get("via").and_then(Value::as_array);
        self.state_key.starts_with('!')
            && via.is_some_and(|via| !via.is_empty() && via.iter().all(Value::is_string))
    }

    pub(super) fn is_suggested(&self) -> bool {
        self.content.get("suggested") == Some(&Value::Bool(true))
    }

    /// Where it stands among its siblings: those with a valid `order` first.
    fn place(&self) -> (bool, &str, i64, &str) {
        let order = self.content.get("order").and_then(Value::as_str);
        let valid =
            |order: &&str| order.len() <= 50 && order.bytes().all(|b| (0x20..=0x7e).contains(&b));
        let order = order.filter(valid);
        (order.is_none(), order.unwrap_or_default(), self.origin_server_ts, &self.state_key)
    }
}

/// Children of these spaces, in their order.
///
/// # Errors
/// Storage failed.
pub(super) fn of(spaces: &[String]) -> Result<HashMap<String, Vec<Child>>, Error> {
    let rows = storage::query(
        "SELECT room_id, json FROM rooms_v1_current_state WHERE room_id IN ($1) AND type = 'm.space.child'
         ORDER BY room_id, position LIMIT $2",
        params![spaces, MAX_CHILDREN],
    )?;
    let mut children: HashMap<String, Vec<Child>> = HashMap::new();
    for (space, json) in rows.all::<(String, String)>()? {
        match serde_json::from_str::<Child>(&json) {
            Ok(child) if child.is_valid() => children.entry(space).or_default().push(child),
            _ => {}
        }
    }
    for siblings in children.values_mut() {
        siblings.sort_by(|a, b| a.place().cmp(&b.place()));
    }
    Ok(children)
}
