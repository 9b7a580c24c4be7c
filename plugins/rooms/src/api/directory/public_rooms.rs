//! GET and POST /publicRooms, for the rooms of this server.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms>
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms>
//!
//! The largest rooms come first. Errors: `M_INVALID_PARAM` (limit, since), `M_NOT_FOUND` (rooms of another server).

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, select};
use tessera_sdk::{crypto, params};

use crate::api::body;

/// More listed rooms than this are not looked at.
const MAX_LISTED: u32 = 1_000;
/// A page holds this many unless fewer are asked for.
const MAX_PAGE: usize = 100;

const TYPES: [&str; 8] = [
    "m.room.create",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
];

#[derive(Debug, Default, Deserialize)]
struct Filter {
    generic_search_term: Option<String>,
    room_types: Option<Vec<Option<String>>>,
}

#[derive(Debug, Default, Deserialize)]
struct Wish {
    #[serde(default)]
    filter: Filter,
    limit: Option<u64>,
    since: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Listed {
    room_id: String,
    num_joined_members: i64,
    world_readable: bool,
    guest_can_join: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical_alias: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_type: Option<String>,
}

#[derive(Serialize)]
struct Response {
    chunk: Vec<Listed>,
    total_room_count_estimate: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
}

/// Lists rooms.
pub fn get(request: &Request) -> Result {
    let since = request.query("since").map(str::to_owned);
    let wish = Wish { limit: request.query_as("limit")?, since, ..Wish::default() };
    answer(request, &wish)
}

/// Lists rooms that fit a filter.
pub fn post(request: &Request) -> Result {
    let wish: Wish = body::of(request)?;
    answer(request, &wish)
}

fn answer(request: &Request, wish: &Wish) -> Result {
    if request.query("server").is_some_and(|server| server != crypto::tenant_name()) {
        return Err(Error::not_found("rooms of other servers are not known here"));
    }
    let limit =
        wish.limit.map_or(MAX_PAGE, |n| usize::try_from(n).unwrap_or(MAX_PAGE).min(MAX_PAGE));
    let from = match &wish.since {
        None => 0,
        Some(token) => token
            .strip_prefix('p')
            .and_then(|digits| digits.parse::<usize>().ok())
            .ok_or_else(|| Error::invalid_param("since is no token of this server"))?,
    };
    let mut rooms = listed()?;
    rooms.retain(|room| fits(room, &wish.filter));
    rooms.sort_by(|a, b| {
        b.num_joined_members.cmp(&a.num_joined_members).then_with(|| a.room_id.cmp(&b.room_id))
    });
    let total = rooms.len();
    let chunk: Vec<_> = rooms.into_iter().skip(from).take(limit).collect();
    let next = from.saturating_add(chunk.len());
    Answer::json(&Response {
        next_batch: (next < total && !chunk.is_empty()).then(|| format!("p{next}")),
        prev_batch: (from > 0).then(|| format!("p{}", from.saturating_sub(limit))),
        total_room_count_estimate: total,
        chunk,
    })
}

fn fits(room: &Listed, filter: &Filter) -> bool {
    let term = filter.generic_search_term.as_deref().unwrap_or_default().to_lowercase();
    let texts = [&room.name, &room.topic, &room.canonical_alias];
    let found = term.is_empty()
        || texts.iter().any(|text| text.as_ref().is_some_and(|t| t.to_lowercase().contains(&term)));
    found && filter.room_types.as_ref().is_none_or(|types| types.contains(&room.room_type))
}

fn listed() -> std::result::Result<Vec<Listed>, Error> {
    let of_listed =
        "(SELECT room_id FROM rooms_rooms WHERE published = TRUE ORDER BY room_id LIMIT $1)";
    let types: Vec<String> = TYPES.iter().map(|kind| (*kind).to_owned()).collect();
    let mut answers = storage::snapshot(&[
        select(
            "SELECT room_id FROM rooms_rooms WHERE published = TRUE ORDER BY room_id LIMIT $1",
            params![MAX_LISTED],
        ),
        select(
            &format!(
                "SELECT room_id, COUNT(user_id) AS n FROM rooms_memberships
                 WHERE membership = 'join' AND room_id IN {of_listed} GROUP BY room_id"
            ),
            params![MAX_LISTED],
        ),
        select(
            &format!(
                "SELECT s.room_id, s.type, e.json FROM rooms_current_state s
                 JOIN rooms_events e ON e.position = s.position
                 WHERE s.state_key = '' AND s.type IN ($2) AND s.room_id IN {of_listed}"
            ),
            params![MAX_LISTED, types],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let mut rooms: HashMap<String, Listed> = next()?
        .all::<(String,)>()?
        .into_iter()
        .map(|(room_id,)| (room_id.clone(), Listed { room_id, ..Listed::default() }))
        .collect();
    for (room_id, n) in next()?.all::<(String, i64)>()? {
        if let Some(room) = rooms.get_mut(&room_id) {
            room.num_joined_members = n;
        }
    }
    for (room_id, kind, json) in next()?.all::<(String, String, String)>()? {
        if let Some(room) = rooms.get_mut(&room_id) {
            describe(room, &kind, &json);
        }
    }
    Ok(rooms.into_values().collect())
}

fn describe(room: &mut Listed, kind: &str, json: &str) {
    let event: Value = serde_json::from_str(json).unwrap_or_default();
    let text = |key: &str| {
        let value = event.get("content").and_then(|content| content.get(key));
        value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    match kind {
        "m.room.create" => room.room_type = text("type"),
        "m.room.name" => room.name = text("name"),
        "m.room.topic" => room.topic = text("topic"),
        "m.room.avatar" => room.avatar_url = text("url"),
        "m.room.canonical_alias" => room.canonical_alias = text("alias"),
        "m.room.join_rules" => room.join_rule = text("join_rule"),
        "m.room.history_visibility" => {
            room.world_readable = text("history_visibility").as_deref() == Some("world_readable");
        }
        _ => room.guest_can_join = text("guest_access").as_deref() == Some("can_join"),
    }
}
