//! An event from elsewhere before anything is known of its room: size, format, hashes, id.
//! Spec: server-server API, Checks performed on receipt of a PDU (points 1 and 3). Signatures are the caller's.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ruma::canonical_json::{CanonicalJsonObject, CanonicalJsonValue, redact_in_place};
use ruma::room_version_rules::EventIdFormatVersion;
use ruma::signatures::content_hash;
use ruma::state_res::check_pdu_format;
use tessera_sdk::matrix::room_id_of_create;

use super::build::{Extremity, reference_hash_of};
use super::content::MAX_EVENT;
use super::event::StoredEvent;
use super::relation::Relation;
use super::version::Version;

/// An event that is well formed.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// As the auth rules read it; redacted if its content hash was wrong.
    pub event: Arc<StoredEvent>,
    /// Canonical JSON as it is stored, without `unsigned`.
    pub json: String,
    /// The extremity that it would be.
    pub extremity: Extremity,
    /// What it says of another event.
    pub relation: Option<Relation>,
}

fn text<'a>(object: &'a CanonicalJsonObject, key: &str) -> Option<&'a str> {
    object.get(key).and_then(CanonicalJsonValue::as_str)
}

/// Reads an event of a room.
///
/// # Errors
/// What is wrong with it; such an event is dropped.
pub fn read(version: &Version, room_id: &str, json: &str) -> Result<Incoming, String> {
    // What `unsigned` holds may be left out of account, but not without bounds.
    if json.len() > 2 * MAX_EVENT {
        return Err("the event is too large".to_owned());
    }
    let mut object: CanonicalJsonObject =
        serde_json::from_str(json).map_err(|error| error.to_string())?;
    object.remove("unsigned");
    let rules = version.rules();
    check_pdu_format(&object, &rules.event_format)?;
    let said = object
        .get("hashes")
        .and_then(CanonicalJsonValue::as_object)
        .and_then(|hashes| text(hashes, "sha256"))
        .ok_or("the content hash is missing")?
        .to_owned();
    let hash = content_hash(&object).map_err(|error| error.to_string())?.encode();
    if said.trim_end_matches('=') != hash {
        redact_in_place(&mut object, &rules.redaction, None).map_err(|error| error.to_string())?;
    }
    let digest = reference_hash_of(version, &object).map_err(|error| error.to_string())?;
    let hash = STANDARD_NO_PAD.encode(digest);
    let event_id = match rules.event_id_format {
        EventIdFormatVersion::V1 => text(&object, "event_id").unwrap_or_default().to_owned(),
        EventIdFormatVersion::V2 => format!("${hash}"),
        _ => format!("${}", URL_SAFE_NO_PAD.encode(digest)),
    };
    let of_room = match text(&object, "room_id") {
        Some(id) => id == room_id,
        None => version.room_id_is_hash() && room_id_of_create(&event_id) == room_id,
    };
    if !of_room {
        return Err("the event is of another room".to_owned());
    }
    let json = serde_json::to_string(&object).map_err(|error| error.to_string())?;
    let event = StoredEvent::parse(&event_id, &json, false).map_err(|error| error.to_string())?;
    let relation = match (object.contains_key("state_key"), object.get("content")) {
        (false, Some(CanonicalJsonValue::Object(content))) => Relation::of(content),
        _ => None,
    };
    let extremity = Extremity(event_id, hash.clone(), event.depth());
    Ok(Incoming { event: Arc::new(event.with_hash(hash)), json, extremity, relation })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::core::build::{self, Draft, Place};
    use crate::core::{State, content};

    fn made(version: &Version) -> (String, String, String) {
        let content = content::parse(
            json!({"room_version": version.name(), "creator": "@a:hs1"}).to_string().as_bytes(),
        );
        let place = Place {
            version,
            room_id: (!version.room_id_is_hash()).then_some("!r:hs1"),
            extremities: &[],
            state: &State::default(),
            now_ms: 1,
            chosen_id: Some("$chosen:hs1"),
        };
        let draft = Draft::state("m.room.create", "", "@a:hs1", content.unwrap());
        let built = build::build(&place, &draft).unwrap();
        let id = built.event.id().to_owned();
        let room = if version.room_id_is_hash() { room_id_of_create(&id) } else { "!r:hs1".into() };
        (room, id, built.unsigned_json().unwrap())
    }

    #[test]
    fn what_is_built_here_can_be_read() {
        for name in crate::core::version::SUPPORTED {
            let version = Version::named(name).unwrap();
            let (room, id, json) = made(&version);
            let read = read(&version, &room, &json).unwrap();
            assert_eq!(read.event.id(), id, "version {name}");
            assert_eq!(read.json, json);
        }
    }

    #[test]
    fn wrong_content_hash_leaves_the_redacted_event_with_the_same_id() {
        let version = Version::named("11").unwrap();
        let (room, id, json) = made(&version);
        let mut changed: Value = serde_json::from_str(&json).unwrap();
        changed["hashes"]["sha256"] = json!("5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos");
        changed["extra"] = json!(1);
        changed["unsigned"] = json!({"age": 1});
        let read = read(&version, &room, &changed.to_string()).unwrap();
        assert_ne!(read.event.id(), id, "hashes are part of it");
        let stored: Value = serde_json::from_str(&read.json).unwrap();
        assert!(stored.get("extra").is_none() && stored.get("unsigned").is_none());
        assert_eq!(stored["type"], "m.room.create");
    }

    #[test]
    fn malformed_events_are_told_apart() {
        let version = Version::named("10").unwrap();
        let (room, _, json) = made(&version);
        let with = |key: &str, value: Value| {
            let mut event: Value = serde_json::from_str(&json).unwrap();
            event[key] = value;
            event.to_string()
        };
        let many: Vec<String> = (0..21).map(|n| format!("$e{n}")).collect();
        for bad in [
            "x".to_owned(),
            "[]".to_owned(),
            with("depth", json!(-1)),
            with("depth", json!(1.5)),
            with("depth", json!("1")),
            with("sender", json!("x")),
            with("type", json!("t".repeat(256))),
            with("state_key", json!("k".repeat(256))),
            with("prev_events", json!(many)),
            with("auth_events", json!(many)),
            with("room_id", json!("!other:hs1")),
            with("hashes", json!({})),
            with("content", json!({"x": "y".repeat(66_000)})),
        ] {
            assert!(read(&version, &room, &bad).is_err(), "{}", bad.get(..80).unwrap_or(&bad));
        }
    }
}
