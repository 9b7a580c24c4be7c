//! What modules add to events on their way to clients: `tessera:hooks/presentation`.

use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};

use crate::hooks::presentation::Field;
use crate::{hooks, log};

/// Modules get at most so many events at a time; see the hook.
const BATCH: usize = 200;

/// Members of `unsigned` that the specification defines. Modules do not set them.
/// Spec: client-server API, Room event format.
const RESERVED: [&str; 11] = [
    "age",
    "invite_room_state",
    "knock_room_state",
    "m.relations",
    "membership",
    "prev_content",
    "prev_sender",
    "redacted_because",
    "redacted_by",
    "replaces_state",
    "transaction_id",
];

type Members = BTreeMap<String, Box<RawValue>>;

/// Adds to events in client format what modules have for `viewer`, a full user id. Where nobody answers, it costs one look
/// at the host's table.
///
/// Each event comes with its room's id if it does not carry one, as in /sync: modules are shown it, the client is not.
/// Events within events (bundled ones, redactions) stay as they are.
pub fn add_fields<'a>(
    events: impl IntoIterator<Item = (Option<&'a str>, &'a mut Box<RawValue>)>,
    viewer: &str,
) {
    if !hooks::answered("tessera:hooks/presentation") {
        return;
    }
    let mut events: Vec<_> = events.into_iter().collect();
    for batch in events.chunks_mut(BATCH) {
        let shown: Vec<String> =
            batch.iter().map(|(room, event)| with_room(event.get(), *room)).collect();
        let mut fields: BTreeMap<usize, Vec<Field>> = BTreeMap::new();
        for field in hooks::unsigned_fields(&shown, viewer) {
            let event = usize::try_from(field.event).unwrap_or(usize::MAX);
            fields.entry(event).or_default().push(field);
        }
        for (number, fields) in fields {
            match batch.get_mut(number) {
                Some((_, event)) => **event = extended(event, fields),
                None => log::warn("a module gave a field to no event", &[]),
            }
        }
    }
}

fn with_room(event: &str, room: Option<&str>) -> String {
    let room = room.and_then(|room| to_raw_value(room).ok());
    match (room, event.strip_prefix('{')) {
        (Some(room), Some(rest)) => format!("{{\"room_id\":{room},{rest}"),
        _ => event.to_owned(),
    }
}

/// The event with more in its `unsigned`; as it was, if that cannot be.
fn extended(event: &RawValue, fields: Vec<Field>) -> Box<RawValue> {
    let with = || -> serde_json::Result<Box<RawValue>> {
        let mut members: Members = serde_json::from_str(event.get())?;
        let mut unsigned: Members = match members.get("unsigned") {
            Some(unsigned) => serde_json::from_str(unsigned.get())?,
            None => Members::new(),
        };
        for Field { name, value, .. } in fields {
            if RESERVED.contains(&name.as_str()) || unsigned.contains_key(&name) {
                continue;
            }
            match RawValue::from_string(value) {
                Ok(value) => {
                    unsigned.insert(name, value);
                }
                Err(_) => log::warn("a module gave a field that is no JSON", &[("field", &name)]),
            }
        }
        members.insert("unsigned".to_owned(), to_raw_value(&unsigned)?);
        to_raw_value(&members)
    };
    with().unwrap_or_else(|_| event.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn field(name: &str, value: &str) -> Field {
        Field { event: 0, name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn fields_are_added_to_what_is_there() {
        let event = raw(r#"{"type":"t","content":{"n":1.0},"unsigned":{"age":5}}"#);
        let event = extended(&event, vec![field("org.example.a", r#"{"b":[1]}"#)]);
        assert_eq!(
            event.get(),
            r#"{"content":{"n":1.0},"type":"t","unsigned":{"age":5,"org.example.a":{"b":[1]}}}"#
        );
    }

    #[test]
    fn modules_do_not_set_what_the_specification_defines() {
        let event = raw(r#"{"unsigned":{"org.example.a":1}}"#);
        let fields = vec![field("transaction_id", "\"x\""), field("org.example.a", "2")];
        assert_eq!(extended(&event, fields).get(), event.get());
    }

    #[test]
    fn modules_are_shown_the_room() {
        assert_eq!(with_room(r#"{"a":1}"#, Some("!r")), r#"{"room_id":"!r","a":1}"#);
        assert_eq!(with_room(r#"{"a":1}"#, None), r#"{"a":1}"#);
    }
}
