//! Making an event: its place in the graph, hashes and signatures.
//!
//! An event's id does not depend on its signatures, so a whole chain of events is built first and signed in one call.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ruma::canonical_json::{CanonicalJsonObject, CanonicalJsonValue, RedactingSerializer};
use ruma::room_version_rules::EventIdFormatVersion;
use ruma::signatures::add_content_hash_to_event;
use ruma::state_res::{Event as _, auth_types_for_event};
use ruma::{Int, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::content::{MAX_EVENT, MAX_KEY};
use super::event::StoredEvent;
use super::state::State;
use super::version::Version;

/// What a sender wants to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Event type.
    pub kind: String,
    /// Present for state events.
    pub state_key: Option<String>,
    /// Full user id.
    pub sender: String,
    /// The content.
    pub content: CanonicalJsonObject,
    /// The event that a redaction redacts; it is put where the room version has it.
    pub redacts: Option<String>,
}

impl Draft {
    /// A state event.
    pub fn state(kind: &str, key: &str, sender: &str, content: CanonicalJsonObject) -> Self {
        Self {
            kind: kind.to_owned(),
            state_key: Some(key.to_owned()),
            sender: sender.to_owned(),
            content,
            redacts: None,
        }
    }

    /// Whether somebody comes into the room by it, or to its door.
    pub fn lets_in(&self) -> bool {
        let membership = self.content.get("membership").and_then(CanonicalJsonValue::as_str);
        self.kind == "m.room.member" && matches!(membership, Some("join" | "invite" | "knock"))
    }

    /// Any other event.
    pub fn message(kind: &str, sender: &str, content: CanonicalJsonObject) -> Self {
        Self {
            kind: kind.to_owned(),
            state_key: None,
            sender: sender.to_owned(),
            content,
            redacts: None,
        }
    }
}

/// An event that no other event follows yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extremity(
    /// Event id.
    pub String,
    /// Reference hash, unpadded base64.
    pub String,
    /// Depth.
    pub u64,
);

/// Most previous events that one event names; further ones wait for the next.
/// Spec: room version 1, Event format.
pub const MAX_PREV_EVENTS: usize = 20;

/// Where an event goes.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The room's version.
    pub version: &'a Version,
    /// None for the create event where the id comes from its hash.
    pub room_id: Option<&'a str>,
    /// The room's forward extremities.
    pub extremities: &'a [Extremity],
    /// State before the event, as far as auth needs it.
    pub state: &'a State,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// A whole event id for the room versions in which the server chooses it.
    pub chosen_id: Option<&'a str>,
}

/// An event without its signature.
#[derive(Debug, Clone)]
pub struct Built {
    /// As the auth rules read it.
    pub event: Arc<StoredEvent>,
    /// What is to be signed: the redacted event in canonical JSON.
    pub to_sign: String,
    /// Reference hash in unpadded standard base64.
    pub hash: String,
    /// Depth in the graph.
    pub depth: u64,
    /// The state that the auth rules read for it, the create event included.
    pub auth: Vec<Arc<StoredEvent>>,
    object: CanonicalJsonObject,
}

/// Who signs.
#[derive(Debug, Clone)]
pub struct Signer {
    /// Server name.
    pub server: String,
    /// Such as `ed25519:a_1`.
    pub key_id: String,
}

/// Why an event cannot be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Over 65,536 bytes, or a key over 255.
    #[error("{0}")]
    TooLarge(String),
    /// An id or the content is malformed.
    #[error("{0}")]
    Malformed(String),
}

fn malformed(error: impl std::fmt::Display) -> BuildError {
    BuildError::Malformed(error.to_string())
}

fn references(version: &Version, of: impl Iterator<Item = (String, String)>) -> CanonicalJsonValue {
    let with_hashes = version.refers_with_hashes();
    let list = of.map(|(id, hash)| {
        if with_hashes {
            let hash = CanonicalJsonObject::from([("sha256".to_owned(), hash.into())]);
            CanonicalJsonValue::Array(vec![id.into(), hash.into()])
        } else {
            id.into()
        }
    });
    CanonicalJsonValue::Array(list.collect())
}

/// The redacted event without signatures: what is signed and what the reference hash is taken of.
/// Spec: server-server API, Signing events and Calculating the reference hash.
fn redacted(version: &Version, object: &CanonicalJsonObject) -> Result<String, BuildError> {
    RedactingSerializer::new()
        .rules(&version.rules().redaction)
        .custom_redacted_root_fields(&["signatures", "unsigned"])
        .serialize(object)
        .map_err(malformed)
}

/// Reference hash of a stored event, unpadded standard base64.
///
/// # Errors
/// The JSON is no event.
pub fn reference_hash(version: &Version, json: &str) -> Result<String, BuildError> {
    let object: CanonicalJsonObject = serde_json::from_str(json).map_err(malformed)?;
    Ok(STANDARD_NO_PAD.encode(reference_hash_of(version, &object)?))
}

/// Reference hash of an event, 32 bytes.
///
/// # Errors
/// It is no event.
pub fn reference_hash_of(
    version: &Version,
    object: &CanonicalJsonObject,
) -> Result<[u8; 32], BuildError> {
    Ok(Sha256::digest(redacted(version, object)?.as_bytes()).into())
}

fn auth_events(place: &Place<'_>, draft: &Draft) -> Result<Vec<Arc<StoredEvent>>, BuildError> {
    let sender = <&UserId>::try_from(draft.sender.as_str()).map_err(malformed)?;
    let content = serde_json::value::to_raw_value(&draft.content).map_err(malformed)?;
    let types = auth_types_for_event(
        &draft.kind.as_str().into(),
        sender,
        draft.state_key.as_deref(),
        &content,
        &place.version.rules().authorization,
    )
    .map_err(BuildError::Malformed)?;
    Ok(types
        .iter()
        .filter_map(|(kind, key)| place.state.get(&kind.to_string(), key).cloned())
        .collect())
}

fn check_sizes(place: &Place<'_>, draft: &Draft) -> Result<(), BuildError> {
    let keys = [
        ("type", Some(draft.kind.as_str())),
        ("state_key", draft.state_key.as_deref()),
        ("sender", Some(draft.sender.as_str())),
        ("room_id", place.room_id),
    ];
    for (name, value) in keys {
        if value.is_some_and(|value| value.len() > MAX_KEY) {
            return Err(BuildError::TooLarge(format!("{name} is longer than {MAX_KEY} bytes")));
        }
    }
    Ok(())
}

/// Makes an event at its place.
///
/// # Errors
/// See [`BuildError`].
pub fn build(place: &Place<'_>, draft: &Draft) -> Result<Built, BuildError> {
    check_sizes(place, draft)?;
    let version = place.version;
    let mut auth = auth_events(place, draft)?;
    let previous: Vec<_> = place.extremities.iter().take(MAX_PREV_EVENTS).collect();
    let depth = previous.iter().map(|extremity| extremity.2).max().unwrap_or(0) + 1;

    let mut object = CanonicalJsonObject::new();
    let mut put = |key: &str, value: CanonicalJsonValue| {
        object.insert(key.to_owned(), value);
    };
    let mut content = draft.content.clone();
    if let Some(redacts) = &draft.redacts {
        if version.redacts_in_content() {
            content.insert("redacts".to_owned(), redacts.as_str().into());
        } else {
            content.remove("redacts");
            put("redacts", redacts.as_str().into());
        }
    }
    put("type", draft.kind.as_str().into());
    put("sender", draft.sender.as_str().into());
    put("content", content.into());
    if let Some(room_id) = place.room_id {
        put("room_id", room_id.into());
    }
    if let Some(key) = &draft.state_key {
        put("state_key", key.as_str().into());
    }
    put(
        "origin_server_ts",
        CanonicalJsonValue::Integer(Int::new_saturating(
            i64::try_from(place.now_ms).unwrap_or(i64::MAX),
        )),
    );
    put(
        "depth",
        CanonicalJsonValue::Integer(Int::new_saturating(i64::try_from(depth).unwrap_or(i64::MAX))),
    );
    let mut auth_refs = Vec::with_capacity(auth.len());
    for event in &auth {
        auth_refs.push((event.id().to_owned(), String::new()));
    }
    if version.refers_with_hashes() {
        for (reference, event) in auth_refs.iter_mut().zip(&auth) {
            event.hash().unwrap_or_default().clone_into(&mut reference.1);
        }
    }
    put("auth_events", references(version, auth_refs.into_iter()));
    put("prev_events", references(version, previous.iter().map(|e| (e.0.clone(), e.1.clone()))));
    if version.chooses_event_ids() {
        let id = place.chosen_id.ok_or_else(|| malformed("no event id was chosen"))?;
        put("event_id", id.into());
    }
    add_content_hash_to_event(&mut object).map_err(|error| match error {
        ruma::signatures::JsonError::PduTooLarge => too_large(),
        other => malformed(other),
    })?;

    let to_sign = redacted(version, &object)?;
    let digest = Sha256::digest(to_sign.as_bytes());
    let hash = STANDARD_NO_PAD.encode(digest);
    let event_id = match version.rules().event_id_format {
        EventIdFormatVersion::V1 => place.chosen_id.unwrap_or_default().to_owned(),
        EventIdFormatVersion::V2 => format!("${hash}"),
        _ => format!("${}", URL_SAFE_NO_PAD.encode(digest)),
    };
    let json = serde_json::to_string(&object).map_err(malformed)?;
    let event =
        StoredEvent::parse(&event_id, &json, false).map_err(malformed)?.with_hash(hash.clone());
    // From version 12 the create event is read and not named.
    let create = place.state.get("m.room.create", "");
    let create = create.filter(|create| !auth.iter().any(|event| event.id() == create.id()));
    auth.extend(create.cloned());
    Ok(Built { event: Arc::new(event), to_sign, hash, depth, auth, object })
}

fn too_large() -> BuildError {
    BuildError::TooLarge(format!("the event is longer than {MAX_EVENT} bytes"))
}

impl Built {
    /// The event's JSON before it is signed.
    ///
    /// # Errors
    /// Never for what [`build`] made.
    pub fn unsigned_json(&self) -> Result<String, BuildError> {
        serde_json::to_string(&self.object).map_err(malformed)
    }

    /// Adds the signature (unpadded base64); gives the event's JSON as it is stored and sent.
    ///
    /// # Errors
    /// It is too large now.
    pub fn signed(mut self, signer: &Signer, signature: &str) -> Result<String, BuildError> {
        let by_key = CanonicalJsonObject::from([(signer.key_id.clone(), signature.into())]);
        let by_server = CanonicalJsonObject::from([(signer.server.clone(), by_key.into())]);
        self.object.insert("signatures".to_owned(), by_server.into());
        let json = serde_json::to_string(&self.object).map_err(malformed)?;
        if json.len() > MAX_EVENT {
            return Err(too_large());
        }
        Ok(json)
    }

    /// The extremity that it becomes.
    pub fn extremity(&self) -> Extremity {
        Extremity(self.event.event_id().to_string(), self.hash.clone(), self.depth)
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    /// Spec: appendices, Cryptographic Test Vectors.
    const SEED: &str = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";

    fn signed(event: &str) -> (String, String) {
        let version = Version::named("1").unwrap();
        let mut object: CanonicalJsonObject = serde_json::from_str(event).unwrap();
        add_content_hash_to_event(&mut object).unwrap();
        let hash = object["hashes"].as_object().unwrap()["sha256"].as_str().unwrap().to_owned();
        // The last character of the specification's seed has bits to spare.
        let lenient = GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone);
        let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
        let seed: [u8; 32] = engine.decode(SEED).unwrap().try_into().unwrap();
        let message = redacted(&version, &object).unwrap();
        let signature = SigningKey::from_bytes(&seed).sign(message.as_bytes());
        (hash, STANDARD_NO_PAD.encode(signature.to_bytes()))
    }

    #[test]
    fn minimal_event_is_hashed_and_signed_as_in_the_specification() {
        let (hash, signature) = signed(
            r#"{"room_id":"!x:domain","sender":"@a:domain","origin":"domain","origin_server_ts":1000000,
            "signatures":{},"hashes":{},"type":"X","content":{},"prev_events":[],"auth_events":[],"depth":3,
            "unsigned":{"age_ts":1000000}}"#,
        );
        assert_eq!(hash, "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos");
        assert_eq!(
            signature,
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"
        );
    }

    #[test]
    fn redactable_event_is_hashed_and_signed_as_in_the_specification() {
        let (hash, signature) = signed(
            r#"{"content":{"body":"Here is the message content"},"event_id":"$0:domain","origin":"domain",
            "origin_server_ts":1000000,"type":"m.room.message","room_id":"!r:domain","sender":"@u:domain",
            "signatures":{},"unsigned":{"age_ts":1000000}}"#,
        );
        assert_eq!(hash, "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g");
        assert_eq!(
            signature,
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA"
        );
    }
}
