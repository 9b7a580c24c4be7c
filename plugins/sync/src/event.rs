//! Rows of `rooms_v1_events` as clients get them.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;
use tessera_sdk::matrix::{ClientFormat, Error, Pdu, Unsigned};
use tessera_sdk::storage::{FromRow, RowError, Value as SqlValue};

use crate::visibility::Late;

macro_rules! late {
    () => {
        "CASE WHEN EXISTS (SELECT 1 FROM rooms_v1_late_events l WHERE l.position = e.position) THEN \
         COALESCE((SELECT l.value_before || ' ' || l.value_after FROM rooms_v1_late_events l \
         WHERE l.position = e.position AND l.user_id = ''), '') || '/' || \
         COALESCE((SELECT l.value_before || ' ' || l.value_after FROM rooms_v1_late_events l \
         WHERE l.position = e.position AND (l.user_id = $1 OR l.user_id = '*') \
         ORDER BY l.user_id DESC LIMIT 1), '') END AS late"
    };
}

/// The columns that [`EventRow`] reads, of `rooms_v1_events e` and `rooms_v1_transactions x`. `$1` is the user who reads.
pub const COLUMNS: &str = concat!(
    "e.position, e.event_id, e.room_id, e.type, e.state_key, e.sender, e.json, e.redacted_by, x.txn_id, \
     EXISTS (SELECT 1 FROM accounts_v1_erased z WHERE z.user_id = e.sender) AS erased, ",
    late!()
);
/// Of these the one for [`Late::read`], null for nearly all events.
pub const LATE: &str = late!();
/// Joins the transaction of the reader's own device; `$1` is the user and `$2` the device.
pub const TRANSACTION: &str = "LEFT JOIN rooms_v1_transactions x \
     ON x.event_id = e.event_id AND x.user_id = $1 AND x.device_id = $2";

/// A further column: whether there is anything to aggregate.
pub const RELATED: &str =
    "EXISTS (SELECT 1 FROM rooms_v1_relations q WHERE q.relates_to = e.event_id) AS related";
/// One more: whether push has evaluated it.
pub const COUNTED: &str = "EXISTS (SELECT 1 FROM push_v2_progress g WHERE g.room_id = e.room_id \
     AND g.position >= e.position) AS counted";
/// One more: whether it is part of the room's state now.
pub const CURRENT: &str = "e.state_key IS NOT NULL AND EXISTS (SELECT 1 FROM rooms_v1_current_state k WHERE k.room_id = e.room_id \
     AND k.type = e.type AND k.state_key = e.state_key AND k.event_id = e.event_id) AS current";
/// State events as [`EventRow`], all or those that a condition on `rooms_v1_current_state` picks.
pub const STATE: &str = "SELECT position, event_id, room_id, type, state_key, sender, json, NULL, NULL \
     FROM rooms_v1_current_state";

/// A stored event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventRow {
    /// Position in the tenant's sequence.
    pub position: i64,
    /// `$…`.
    pub event_id: String,
    /// `!…`.
    pub room_id: String,
    /// Event type.
    pub kind: String,
    /// Present in state events.
    pub state_key: Option<String>,
    /// Full user id.
    pub sender: String,
    /// Federation format.
    pub json: String,
    /// The redaction's event id.
    pub redacted_by: Option<String>,
    /// The transaction id, if the reading device sent it.
    pub txn_id: Option<String>,
    /// Whether the sender had all that they said hidden from those who come later; not read of current state.
    pub erased: Option<bool>,
    /// What its own past says of who may see it, where that is not what arrival says; not read of current state.
    pub late: Option<Late>,
    /// Whether other events relate to it, where [`RELATED`] was read.
    pub related: Option<bool>,
    /// Whether the unread counts know it, where [`COUNTED`] was read.
    pub counted: Option<bool>,
    /// Whether it is part of the room's state now, where [`CURRENT`] was read.
    pub current: Option<bool>,
}

impl FromRow for EventRow {
    fn from_row(mut row: Vec<SqlValue>) -> Result<Self, RowError> {
        let more = row.split_off(row.len().min(10));
        let (late, related, counted, current): (Option<String>, _, _, _) = <_>::from_row(more)?;
        let (
            position,
            event_id,
            room_id,
            kind,
            state_key,
            sender,
            json,
            redacted_by,
            txn_id,
            erased,
        ) = <_>::from_row(row)?;
        Ok(Self {
            position,
            event_id,
            room_id,
            kind,
            state_key,
            sender,
            json,
            redacted_by,
            txn_id,
            erased,
            late: late.as_deref().and_then(Late::read),
            related,
            counted,
            current,
        })
    }
}

/// How events are written for one reader.
#[derive(Debug, Clone)]
pub struct Writer<'a> {
    /// Milliseconds since the Unix epoch, for ages.
    pub now_ms: i64,
    /// With or without `room_id`.
    pub format: ClientFormat,
    /// Members to keep (filter `event_fields`); none keeps all.
    pub fields: Option<&'a [String]>,
    /// The stored form instead of the client's (filter `event_format`).
    pub federation: bool,
}

/// What is known of an event beyond its row.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    /// Id and content of the state event that it replaced.
    pub replaced: Option<(String, Value)>,
    /// The redaction, in client format.
    pub redacted_because: Option<Value>,
    /// The reader's membership at the event.
    pub membership: Option<String>,
    /// Bundled aggregations.
    pub relations: Option<Value>,
}

impl Writer<'_> {
    /// Writes one event.
    ///
    /// # Errors
    /// Only if a stored event is none.
    pub fn write(&self, row: &EventRow, extra: Extra) -> Result<Box<RawValue>, Error> {
        let json = match hidden(row, extra.membership.as_deref()) {
            true => Cow::Owned(emptied(&row.json)?),
            false => Cow::Borrowed(row.json.as_str()),
        };
        if self.federation {
            return federated(&json, row);
        }
        let (replaces_state, prev_content) = extra.replaced.unzip();
        let event = Pdu::parse(&json).map_err(Error::internal)?;
        let unsigned = Unsigned {
            age: Some((self.now_ms - event.origin_server_ts).max(0)),
            transaction_id: row.txn_id.clone(),
            prev_content,
            replaces_state,
            redacted_because: extra.redacted_because,
            membership: extra.membership,
            relations: extra.relations,
        };
        let raw = event
            .to_client(&row.event_id, &row.room_id, self.format, &unsigned)
            .map_err(Error::internal)?;
        match self.fields {
            Some(fields) => keep_fields(&raw, fields),
            None => Ok(raw),
        }
    }
}

/// Whether the content is kept from the reader: its sender was erased, and the reader was not in the room then. Spec: `POST
/// /account/deactivate`, `erase`. State and redactions stay: the room rests on them.
fn hidden(row: &EventRow, membership: Option<&str>) -> bool {
    row.erased == Some(true)
        && row.state_key.is_none()
        && row.kind != "m.room.redaction"
        && membership != Some("join")
}

/// The stored form with the ids that newer room versions leave out of it: without them a client could not tell what it has.
fn federated(json: &str, row: &EventRow) -> Result<Box<RawValue>, Error> {
    let mut event: serde_json::Map<String, Value> =
        serde_json::from_str(json).map_err(Error::internal)?;
    for (name, id) in [("event_id", &row.event_id), ("room_id", &row.room_id)] {
        if !event.contains_key(name) {
            event.insert(name.to_owned(), Value::from(id.as_str()));
        }
    }
    serde_json::value::to_raw_value(&event).map_err(Error::internal)
}

/// A stored event without its content.
fn emptied(json: &str) -> Result<String, Error> {
    let mut event: serde_json::Map<String, Value> =
        serde_json::from_str(json).map_err(Error::internal)?;
    event.insert("content".to_owned(), Value::Object(<_>::default()));
    serde_json::to_string(&event).map_err(Error::internal)
}

/// The content of a stored event.
///
/// # Errors
/// Only if a stored event is none.
pub fn content(json: &str) -> Result<Value, Error> {
    let event = Pdu::parse(json).map_err(Error::internal)?;
    serde_json::from_str(event.content.get()).map_err(Error::internal)
}

/// Splits a dotted path; `\.` is a dot within a name.
fn split_path(path: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '.' => names.push(String::new()),
            c => {
                let c = if c == '\\' { chars.next().unwrap_or('\\') } else { c };
                if let Some(last) = names.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    names
}

fn copy_path(from: &Value, to: &mut Value, path: &[String]) {
    let Some((name, rest)) = path.split_first() else { return };
    let (Some(value), Some(to)) = (from.get(name), to.as_object_mut()) else { return };
    if rest.is_empty() {
        to.insert(name.clone(), value.clone());
    } else if value.is_object() {
        let inner = to.entry(name.clone()).or_insert_with(|| Value::Object(<_>::default()));
        copy_path(value, inner, rest);
    }
}

/// Keeps the members that the filter names. Spec: Filtering, `event_fields`.
fn keep_fields(raw: &RawValue, fields: &[String]) -> Result<Box<RawValue>, Error> {
    let from: Value = serde_json::from_str(raw.get()).map_err(Error::internal)?;
    let mut to = Value::Object(<_>::default());
    for field in fields {
        copy_path(&from, &mut to, &split_path(field));
    }
    serde_json::value::to_raw_value(&to).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_fields_are_kept() {
        let raw = RawValue::from_string(
            r#"{"type":"t","content":{"body":"b","a.b":1,"x":2},"sender":"@a:b"}"#.to_owned(),
        )
        .unwrap();
        let fields = ["content.body", "content.a\\.b", "type", "none.such"].map(str::to_owned);
        let kept: Value = serde_json::from_str(keep_fields(&raw, &fields).unwrap().get()).unwrap();
        assert_eq!(kept, serde_json::json!({"type":"t","content":{"body":"b","a.b":1}}));
    }
}
