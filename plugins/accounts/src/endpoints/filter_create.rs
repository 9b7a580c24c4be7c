//! `POST /_matrix/client/v3/user/{userId}/filter`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter

use serde::Deserialize;
use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{Batch, query};
use tessera_sdk::{digest, params};

use crate::{account_data, ids};

/// Filters of one user.
const MAX_FILTERS: i64 = 1000;

/// Types of the members that are looked at later. The rest may be anything.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only their types are checked")]
struct Filter {
    event_fields: Option<Vec<String>>,
    event_format: Option<Format>,
    presence: Option<Events>,
    account_data: Option<Events>,
    room: Option<Room>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Client,
    Federation,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only their types are checked")]
struct Room {
    rooms: Option<Vec<RoomId>>,
    not_rooms: Option<Vec<RoomId>>,
    include_leave: Option<bool>,
    timeline: Option<Events>,
    state: Option<Events>,
    ephemeral: Option<Events>,
    account_data: Option<Events>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only their types are checked")]
struct Events {
    limit: Option<u64>,
    types: Option<Vec<String>>,
    not_types: Option<Vec<String>>,
    senders: Option<Vec<UserId>>,
    not_senders: Option<Vec<UserId>>,
    rooms: Option<Vec<RoomId>>,
    not_rooms: Option<Vec<RoomId>>,
    contains_url: Option<bool>,
    lazy_load_members: Option<bool>,
    include_redundant_members: Option<bool>,
    unread_thread_notifications: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct RoomId;

impl TryFrom<String> for RoomId {
    type Error = &'static str;

    fn try_from(id: String) -> std::result::Result<Self, Self::Error> {
        ids::room_in_path(&id).map(|_| Self).map_err(|_| "rooms are named by their ids")
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct UserId;

impl TryFrom<String> for UserId {
    type Error = &'static str;

    fn try_from(id: String) -> std::result::Result<Self, Self::Error> {
        ids::user_in_path(&id).map(|_| Self).map_err(|_| "senders are named by their ids")
    }
}

/// Keeps a filter. The same filter has the same id. `M_FORBIDDEN`, `M_NOT_JSON`, `M_BAD_JSON`.
pub fn handle(request: &Request) -> Result {
    let user = request.user()?;
    ids::own(user, request.param("userId"))?;
    let text = account_data::check(request.body())?;
    serde_json::from_str::<Filter>(&text)
        .map_err(|error| Error::bad_json(format!("not a filter: {error}")))?;
    // Twelve characters are 72 bits: no two of a user's filters meet by chance. It cannot begin
    // with `{`, which is how /sync tells a filter from its id.
    let hash = digest::sha256(text.as_bytes());
    let id = hash.get(..12).unwrap_or(&hash);
    let count: Option<(i64,)> =
        query("SELECT COUNT(*) FROM accounts_filters WHERE user_id = $1", params![user])?
            .first()?;
    let known = "SELECT filter_id FROM accounts_filters WHERE user_id = $1 AND filter_id = $2";
    if count.is_none_or(|(n,)| n >= MAX_FILTERS) && query(known, params![user, id])?.rows.is_empty()
    {
        return Err(Error::too_large("too many filters"));
    }
    Batch::new()
        .run(
            "INSERT INTO accounts_filters (user_id, filter_id, json) VALUES ($1, $2, $3)              ON CONFLICT (user_id, filter_id) DO NOTHING",
            params![user, id, &text],
        )
        .commit_blind()?;
    Answer::json(&json!({ "filter_id": id }))
}
