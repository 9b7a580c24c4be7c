//! An event that is about to be stored.

use std::sync::Arc;

use ruma::state_res::Event as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::core::{Extremity, Relation, State, StoredEvent};

/// An event, complete, with what its rows need.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// As the auth rules read it.
    pub event: Arc<StoredEvent>,
    /// Signed, in federation format.
    pub json: String,
    /// The extremity that it becomes.
    pub extremity: Extremity,
    /// The state event that it replaces.
    pub replaces: Option<Arc<StoredEvent>>,
    /// Stripped state for the user of an invite or knock.
    pub stripped: Option<String>,
    /// What it says of another event.
    pub relation: Option<Relation>,
    /// Words to be found by.
    pub text: Option<String>,
}

/// Name and picture in a member event.
#[derive(Debug, Default, Deserialize)]
pub struct Profile {
    /// Display name.
    #[serde(default, deserialize_with = "text_or_none")]
    pub displayname: Option<String>,
    /// mxc URI.
    #[serde(default, deserialize_with = "text_or_none")]
    pub avatar_url: Option<String>,
}

/// Contents of other types than text count as absent: the auth rules do not look at them.
fn text_or_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(from)? {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    })
}

#[derive(Serialize)]
struct Stripped<'a> {
    #[serde(rename = "type")]
    kind: String,
    state_key: &'a str,
    sender: &'a str,
    content: &'a RawValue,
}

/// A JSON array of stripped state events: what the state has of the stripped types, and the member event itself.
/// Spec: client-server API, Stripped state.
pub fn stripped_state(state: &State, own: &StoredEvent) -> String {
    let known = super::view::STRIPPED_TYPES.iter().filter_map(|kind| state.get(kind, ""));
    // Who invites is shown with their name.
    let sender = own.sender().as_str();
    let inviter = state.get("m.room.member", sender);
    let inviter = inviter.filter(|_| own.state_key() != Some(sender));
    let stripped: Vec<_> = known
        .chain(inviter)
        .map(Arc::as_ref)
        .chain(std::iter::once(own))
        .map(|event| Stripped {
            kind: event.kind(),
            state_key: event.state_key().unwrap_or_default(),
            sender: event.sender().as_str(),
            content: event.content(),
        })
        .collect();
    serde_json::to_string(&stripped).unwrap_or_else(|_| "[]".to_owned())
}

/// The words of an event that a search looks at. Spec: client-server API, Server Side Search.
pub fn search_text(event: &StoredEvent) -> Option<String> {
    #[derive(Deserialize)]
    struct Edit {
        body: Option<String>,
    }
    #[derive(Deserialize)]
    struct Relates {
        rel_type: Option<String>,
    }
    #[derive(Deserialize)]
    struct Words {
        body: Option<String>,
        name: Option<String>,
        topic: Option<String>,
        #[serde(rename = "m.new_content")]
        new_content: Option<Edit>,
        #[serde(rename = "m.relates_to")]
        relates_to: Option<Relates>,
    }
    let kind = event.kind();
    if !matches!(kind.as_str(), "m.room.message" | "m.room.name" | "m.room.topic") {
        return None;
    }
    let words: Words = event.content_as()?;
    let edits = words.relates_to.and_then(|relates| relates.rel_type);
    let edits = edits.as_deref() == Some("m.replace");
    match kind.as_str() {
        // The body of an edit is there for clients that know of none.
        "m.room.message" if edits => words.new_content.and_then(|new| new.body).or(words.body),
        "m.room.message" => words.body,
        "m.room.name" => words.name,
        _ => words.topic,
    }
    .filter(|text| !text.is_empty())
}
