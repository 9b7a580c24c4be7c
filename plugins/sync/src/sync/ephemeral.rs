//! Typing, receipts, presence and account data as events.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use tessera_sdk::matrix::Error;

use super::read::{AccountData, Receipt, Typing};
use crate::near::Presence;

fn raw(value: &Value) -> Result<Box<RawValue>, Error> {
    to_raw_value(value).map_err(Error::internal)
}

/// Account data, global or of one room. Spec: Client Config.
pub(crate) fn account_data(kind: &str, content: &str) -> Result<Box<RawValue>, Error> {
    let content: &RawValue = serde_json::from_str(content).map_err(Error::internal)?;
    #[derive(serde::Serialize)]
    struct Event<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        content: &'a RawValue,
    }
    to_raw_value(&Event { kind, content }).map_err(Error::internal)
}

/// Account data by room; global ones under the empty id.
pub(crate) fn by_room(rows: Vec<AccountData>) -> BTreeMap<String, Vec<(String, String)>> {
    let mut rooms: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (room, kind, content, _) in rows {
        rooms.entry(room).or_default().push((kind, content));
    }
    rooms
}

/// One `m.receipt` event for each room. Private receipts are for their owner only. Spec: Receipts.
pub(crate) fn receipts(
    rows: impl IntoIterator<Item = Receipt>,
    reader: &str,
    ignored: &BTreeSet<String>,
) -> Result<BTreeMap<String, Box<RawValue>>, Error> {
    let mut rooms: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (room, user, kind, thread, event, ts, _) in rows {
        if (kind == "m.read.private" && user != reader) || ignored.contains(&user) {
            continue;
        }
        let mut receipt = json!({ "ts": ts });
        if let (false, Some(map)) = (thread.is_empty(), receipt.as_object_mut()) {
            map.insert("thread_id".to_owned(), Value::from(thread));
        }
        let by_event = rooms.entry(room).or_default().entry(event).or_insert_with(|| json!({}));
        if let Some(kinds) = by_event.as_object_mut() {
            let users = kinds.entry(kind).or_insert_with(|| json!({}));
            if let Some(users) = users.as_object_mut() {
                users.insert(user, receipt);
            }
        }
    }
    rooms
        .into_iter()
        .map(|(room, content)| {
            Ok((room, raw(&json!({ "type": "m.receipt", "content": content }))?))
        })
        .collect()
}

/// One `m.typing` event for each room where something changed, and whether anybody types there. Spec: Typing
/// Notifications.
pub(crate) fn typing(
    rows: Vec<Typing>,
    now_ms: i64,
) -> Result<BTreeMap<String, (bool, Box<RawValue>)>, Error> {
    let mut rooms: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (room, user, until, _) in rows {
        let users = rooms.entry(room).or_default();
        if until > now_ms {
            users.push(user);
        }
    }
    rooms
        .into_iter()
        .map(|(room, users)| {
            let event = raw(&json!({ "type": "m.typing", "content": { "user_ids": users } }))?;
            Ok((room, (!users.is_empty(), event)))
        })
        .collect()
}

/// An `m.presence` event. Spec: Presence.
pub(crate) fn presence(row: Presence, now_ms: i64) -> Result<Box<RawValue>, Error> {
    let (user, presence, status, last_active, active, _) = row;
    let mut content = json!({ "presence": presence, "currently_active": active });
    if let Some(map) = content.as_object_mut() {
        if last_active > 0 {
            map.insert("last_active_ago".to_owned(), Value::from((now_ms - last_active).max(0)));
        }
        if let Some(status) = status {
            map.insert("status_msg".to_owned(), Value::from(status));
        }
    }
    raw(&json!({ "type": "m.presence", "sender": user, "content": content }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_receipts_reach_their_owner_only() {
        let row = |user: &str, kind: &str| -> Receipt {
            let text = |s: &str| s.to_owned();
            (text("!r"), text(user), text(kind), String::new(), text("$e"), 5, 9)
        };
        let rows = vec![row("@a:h", "m.read.private"), row("@b:h", "m.read.private")];
        let events = receipts(rows, "@a:h", &BTreeSet::new()).unwrap();
        let event: Value = serde_json::from_str(events["!r"].get()).unwrap();
        assert_eq!(
            event["content"],
            json!({ "$e": { "m.read.private": { "@a:h": { "ts": 5 } } } })
        );
    }

    #[test]
    fn who_has_stopped_typing_is_left_out() {
        let rows = vec![
            ("!r".to_owned(), "@a:h".to_owned(), 100, 9),
            ("!r".to_owned(), "@b:h".to_owned(), 0, 9),
            ("!s".to_owned(), "@b:h".to_owned(), 0, 9),
        ];
        let events = typing(rows, 50).unwrap();
        let users = |room: &str| -> Value {
            let event: Value = serde_json::from_str(events[room].1.get()).unwrap();
            event["content"]["user_ids"].clone()
        };
        assert_eq!(users("!r"), json!(["@a:h"]));
        assert_eq!(users("!s"), json!([]));
    }
}
