//! What events carry beyond themselves: redactions and bundled aggregations.
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events>

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{FromRow, RowError, Rows, Select, Value as SqlValue, select};

use crate::event::{COLUMNS, EventRow, Extra, TRANSACTION, Writer, content};

/// Edits and references looked at in one go.
const MAX_RELATED: i64 = 2_000;

/// A related event and what it relates to.
struct Related {
    parent: String,
    kind: String,
    count: i64,
    participated: bool,
    event: EventRow,
}

impl FromRow for Related {
    fn from_row(mut row: Vec<SqlValue>) -> Result<Self, RowError> {
        let event = row.split_off(row.len().min(4));
        let (parent, kind, count, participated): (String, String, i64, i64) = <_>::from_row(row)?;
        let event = EventRow::from_row(event)?;
        Ok(Self { parent, kind, count, participated: participated > 0, event })
    }
}

/// Reads what belongs to events: four answers, for [`extras`]. What relates to them counts up to the position `last`,
/// without what `ignored` users have sent. What is said in another room does not count: whoever may not speak here may speak there.
pub(crate) fn selects(
    user: &str,
    device: Option<&str>,
    events: &[&EventRow],
    last: i64,
    ignored: &BTreeSet<String>,
) -> Vec<Select> {
    let ignored: Vec<String> = ignored.iter().cloned().collect();
    let device = device.unwrap_or("");
    let ids: Vec<String> = events.iter().map(|event| event.event_id.clone()).collect();
    let redactions: Vec<String> = events.iter().filter_map(|e| e.redacted_by.clone()).collect();
    let threads = "(SELECT r.relates_to AS root, COUNT(r.event_id) AS n, MAX(r.position) AS latest, \
         SUM(CASE WHEN r.sender = $1 THEN 1 ELSE 0 END) AS mine FROM rooms_v1_events p \
         CROSS JOIN rooms_v1_relations r CROSS JOIN rooms_v1_events c WHERE p.event_id IN ($3) \
         AND r.relates_to = p.event_id AND r.room_id = p.room_id AND r.rel_type = 'm.thread' AND r.position <= $4 \
         AND r.sender NOT IN ($5) AND c.event_id = r.event_id AND c.redacted_by IS NULL AND c.stream \
         AND NOT c.rejected GROUP BY r.relates_to) t";
    vec![
        select(
            &format!(
                "SELECT {COLUMNS} FROM rooms_v1_events e {TRANSACTION} WHERE e.event_id IN ($3)"
            ),
            params![user, device, redactions],
        ),
        select(
            &format!(
                "SELECT r.relates_to, r.rel_type, 0, 0, {COLUMNS} FROM rooms_v1_events p \
                 CROSS JOIN rooms_v1_relations r CROSS JOIN rooms_v1_events e {TRANSACTION} \
                 WHERE p.event_id IN ($3) AND r.relates_to = p.event_id AND r.room_id = p.room_id \
                 AND r.rel_type IN ('m.replace', 'm.reference') AND r.position <= $4 AND r.sender NOT IN ($6) \
                 AND e.event_id = r.event_id AND e.redacted_by IS NULL AND e.stream AND NOT e.rejected \
                 ORDER BY e.origin_ts DESC, e.event_id DESC LIMIT $5"
            ),
            params![user, device, ids.clone(), last, MAX_RELATED, ignored.clone()],
        ),
        select(
            &format!(
                "SELECT t.root, 'm.thread', t.n, t.mine, {COLUMNS} FROM {threads} \
                 JOIN rooms_v1_events e ON e.position = t.latest {TRANSACTION}"
            ),
            params![user, device, ids.clone(), last, ignored.clone()],
        ),
        // What was changed in the latest event of a thread.
        select(
            &format!(
                "SELECT r.relates_to, r.rel_type, 0, t.mine, {COLUMNS} FROM {threads} \
                 JOIN rooms_v1_events l ON l.position = t.latest \
                 JOIN rooms_v1_relations r ON r.relates_to = l.event_id AND r.room_id = l.room_id \
                 AND r.rel_type = 'm.replace' AND r.position <= $4 \
                 JOIN rooms_v1_events e ON e.event_id = r.event_id {TRANSACTION} \
                 WHERE e.redacted_by IS NULL AND e.stream AND NOT e.rejected \
                 ORDER BY e.origin_ts DESC, e.event_id DESC LIMIT $6"
            ),
            params![user, device, ids, last, ignored, MAX_RELATED],
        ),
    ]
}

/// Whether one event is a valid replacement of the other. Spec: Event replacements, Validity of replacement events.
fn is_edit(edit: &EventRow, of: &EventRow) -> bool {
    let new_content = content(&edit.json).is_ok_and(|content| {
        edit.kind == "m.room.encrypted"
            || content.get("m.new_content").is_some_and(Value::is_object)
    });
    let rel_type = |content: &Value| {
        content.pointer("/m.relates_to/rel_type").and_then(Value::as_str) == Some("m.replace")
    };
    new_content
        && of.state_key.is_none()
        && edit.state_key.is_none()
        && edit.sender == of.sender
        && edit.kind == of.kind
        && !content(&of.json).is_ok_and(|content| rel_type(&content))
}

/// What the answers say of each event. Redactions and aggregations are written with `writer`.
///
/// # Errors
/// A view is not as documented.
pub(crate) fn extras(
    writer: &Writer<'_>,
    user: &str,
    events: &[&EventRow],
    mut next: impl FnMut() -> Result<Rows, Error>,
) -> Result<HashMap<String, Extra>, Error> {
    let writer = Writer { fields: None, federation: false, ..writer.clone() };
    let write = |row: &EventRow, extra: Extra| -> Result<Value, Error> {
        let raw = writer.write(row, extra)?;
        serde_json::from_str(raw.get()).map_err(Error::internal)
    };
    let redactions: Vec<EventRow> = next()?.all()?;
    let related: Vec<Related> = next()?.all()?;
    let threads: Vec<Related> = next()?.all()?;
    let thread_edits: Vec<Related> = next()?.all()?;
    let mut extras: HashMap<String, Extra> = HashMap::new();
    for &event in events {
        let mut extra = Extra::default();
        if let Some(row) =
            redactions.iter().find(|r| Some(&r.event_id) == event.redacted_by.as_ref())
        {
            extra.redacted_because = Some(write(row, Extra::default())?);
            extras.insert(event.event_id.clone(), extra);
            continue;
        }
        let mut bundle = serde_json::Map::new();
        let of_event = |r: &&Related| r.parent == event.event_id;
        // Newest first, so the first valid one is in force.
        let mut edits = related.iter().filter(of_event).filter(|r| r.kind == "m.replace");
        if let Some(edit) = edits.find(|edit| is_edit(&edit.event, event)) {
            bundle.insert("m.replace".to_owned(), write(&edit.event, Extra::default())?);
        }
        let references: Vec<Value> = related
            .iter()
            .rev()
            .filter(of_event)
            .filter(|r| r.kind == "m.reference")
            .map(|r| json!({ "event_id": r.event.event_id }))
            .collect();
        if !references.is_empty() {
            bundle.insert("m.reference".to_owned(), json!({ "chunk": references }));
        }
        if let Some(thread) = threads.iter().find(of_event) {
            let latest = &thread.event;
            let mut edits = thread_edits.iter().filter(|edit| edit.parent == latest.event_id);
            let relations = match edits.find(|edit| is_edit(&edit.event, latest)) {
                Some(edit) => Some(json!({ "m.replace": write(&edit.event, Extra::default())? })),
                None => None,
            };
            let summary = json!({
                "latest_event": write(latest, Extra { relations, ..Extra::default() })?,
                "count": thread.count,
                "current_user_participated": thread.participated || event.sender == user,
            });
            bundle.insert("m.thread".to_owned(), summary);
        }
        if !bundle.is_empty() {
            extra.relations = Some(Value::Object(bundle));
            extras.insert(event.event_id.clone(), extra);
        }
    }
    Ok(extras)
}
