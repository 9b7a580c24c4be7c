//! Which messages speak of invites that still stand.

use std::collections::HashMap;

use serde::Deserialize;
use tessera_sdk::bindings::consumer::exports::tessera::plugin::consumer::Message;
use tessera_sdk::{matrix, params, storage};

/// An invite of a user of this server that they have not answered.
#[derive(Debug)]
pub(crate) struct Invite {
    /// The message that told of it.
    pub(crate) message: u64,
    pub(crate) user: String,
    pub(crate) inviter: String,
    pub(crate) room: String,
    /// To a direct chat.
    pub(crate) direct: bool,
}

/// A payload of `rooms.events`.
#[derive(Debug, Deserialize)]
struct Told {
    event_id: String,
    room_id: String,
    #[serde(rename = "type")]
    kind: String,
    state_key: Option<String>,
    sender: String,
}

/// The part of an event that is looked at.
#[derive(Debug, Default, Deserialize)]
struct Event {
    #[serde(default)]
    content: Content,
}

#[derive(Debug, Default, Deserialize)]
struct Content {
    #[serde(default)]
    is_direct: serde_json::Value,
}

/// The invites that these messages tell of, as far as they still stand. One query, and none where no message is about
/// somebody else's membership.
///
/// # Errors
/// The views cannot be read.
pub(crate) fn open(messages: &[Message], server: &str) -> Result<Vec<Invite>, String> {
    let told: Vec<(u64, Told)> = messages
        .iter()
        .filter_map(|message| Some((message.id, serde_json::from_str(&message.payload).ok()?)))
        .filter(|(_, told): &(u64, Told)| is_candidate(told, server))
        .collect();
    if told.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<String> = told.iter().map(|(_, told)| told.event_id.clone()).collect();
    let rows = storage::query(
        "SELECT e.event_id, e.json FROM rooms_v1_events e \
         JOIN rooms_v1_memberships m ON m.room_id = e.room_id AND m.user_id = e.state_key AND m.event_id = e.event_id \
         WHERE e.event_id IN ($1) AND m.membership = 'invite'",
        params![ids],
    );
    let rows: Vec<(String, String)> =
        rows.map_err(|error| format!("{error:?}"))?.all().map_err(|error| error.to_string())?;
    let standing: HashMap<String, String> = rows.into_iter().collect();
    let invite = |(message, told): (u64, Told)| {
        let event: Event = serde_json::from_str(standing.get(&told.event_id)?).unwrap_or_default();
        Some(Invite {
            message,
            user: told.state_key?,
            inviter: told.sender,
            room: told.room_id,
            direct: event.content.is_direct == true,
        })
    };
    Ok(told.into_iter().filter_map(invite).collect())
}

/// Whether an event may be an invite of one of our users: all that can be said without its content.
fn is_candidate(told: &Told, server: &str) -> bool {
    let target = told.state_key.as_deref().unwrap_or_default();
    told.kind == "m.room.member" && target != told.sender && matrix::server_name(target) == server
}
