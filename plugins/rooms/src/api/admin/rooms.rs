//! GET /_synapse/admin/v1/rooms and GET /_synapse/admin/v1/rooms/{roomId}.
//!
//! Rooms, ordered and filtered; answered from `rooms_about`. Errors: `M_INVALID_PARAM`, `M_NOT_FOUND`.

use serde::Serialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, FromRow, IntoValue, RowError, Rows, Value, select};

use super::page;
use crate::admin;

/// A room, as lists show it.
#[derive(Debug, Serialize)]
struct Room {
    room_id: String,
    name: Option<String>,
    canonical_alias: Option<String>,
    joined_members: i64,
    joined_local_members: i64,
    version: String,
    creator: String,
    encryption: Option<String>,
    federatable: bool,
    public: bool,
    join_rules: Option<String>,
    guest_access: Option<String>,
    history_visibility: Option<String>,
    state_events: i64,
    room_type: Option<String>,
}

#[derive(Serialize)]
struct List {
    offset: i64,
    rooms: Vec<Room>,
    total_rooms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<i64>,
}

#[derive(Serialize)]
struct Details {
    #[serde(flatten)]
    room: Room,
    topic: Option<String>,
    avatar: Option<String>,
    joined_local_devices: i64,
    forgotten: bool,
    tombstoned: bool,
    replacement_room: Option<String>,
}

const COLUMNS: &str = "SELECT a.room_id AS room_id, a.name, a.canonical_alias, a.joined, a.joined_local, r.version, r.creator,
    a.encryption, a.federatable, a.published, a.join_rule, a.guest_access, a.history_visibility, a.state_events, a.room_type
  FROM rooms_about a JOIN rooms_rooms r ON r.room_id = a.room_id";

impl FromRow for Room {
    fn from_row(row: Vec<Value>) -> std::result::Result<Self, RowError> {
        let (
            room_id,
            name,
            canonical_alias,
            joined_members,
            joined_local_members,
            version,
            creator,
            encryption,
            federatable,
            public,
            join_rules,
            guest_access,
            history_visibility,
            state_events,
            room_type,
        ) = FromRow::from_row(row)?;
        Ok(Self {
            room_id,
            name,
            canonical_alias,
            joined_members,
            joined_local_members,
            version,
            creator,
            encryption,
            federatable,
            public,
            join_rules,
            guest_access,
            history_visibility,
            state_events,
            room_type,
        })
    }
}

/// What a list is ordered by: the column, and whether the smallest comes first.
fn order(name: &str) -> Option<(&'static str, bool)> {
    Some(match name {
        "name" | "alphabetical" => ("a.name", true),
        "canonical_alias" => ("a.canonical_alias", true),
        "joined_members" | "size" => ("a.joined", false),
        "joined_local_members" => ("a.joined_local", false),
        "version" => ("r.version", false),
        "creator" => ("r.creator", true),
        "encryption" => ("a.encryption", true),
        "federatable" => ("a.federatable", true),
        "public" => ("a.published", true),
        "join_rules" => ("a.join_rule", true),
        "guest_access" => ("a.guest_access", true),
        "history_visibility" => ("a.history_visibility", true),
        "state_events" => ("a.state_events", false),
        _ => return None,
    })
}

/// Lists rooms.
pub fn list(request: &Request) -> Result {
    admin::only(request)?;
    let (from, limit) = page::of(request)?;
    let order_by = request.query("order_by").unwrap_or("name");
    let unknown = || Error::invalid_param(format!("order_by {order_by:?} is unknown"));
    let (column, ascends) = order(order_by).ok_or_else(unknown)?;
    let ascends = ascends == page::forwards(request, true)?;
    let mut filter = Filter::default();
    if let Some(term) = request.query("search_term") {
        if term.is_empty() {
            return Err(Error::invalid_param("search_term is empty"));
        }
        filter.search(term);
    }
    if let Some(public) = page::truth(request, "public_rooms")? {
        filter.conditions.push(format!("a.published = {public}"));
    }
    if let Some(empty) = page::truth(request, "empty_rooms")? {
        filter.conditions.push(format!("a.joined {} 0", if empty { "=" } else { ">" }));
    }
    let direction = if ascends { "ASC" } else { "DESC" };
    let condition = filter.sql();
    let mut values = filter.values.clone();
    values.extend(params![limit, from]);
    let (take, skip) = (values.len() - 1, values.len());
    let rooms = format!(
        "{COLUMNS}{condition} ORDER BY {column} {direction}, room_id {direction} LIMIT ${take} OFFSET ${skip}"
    );
    let total = format!(
        "SELECT COUNT(a.room_id) AS n FROM rooms_about a JOIN rooms_rooms r ON r.room_id = a.room_id{condition}"
    );
    let mut answers =
        storage::snapshot(&[select(&rooms, values), select(&total, filter.values)])?.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let rooms = next()?.all::<Room>()?;
    let total_rooms = next()?.first::<(i64,)>()?.map_or(0, |(n,)| n);
    Answer::json(&List {
        offset: from,
        rooms,
        total_rooms,
        next_batch: (limit > 0 && from + limit < total_rooms).then_some(from + limit),
        prev_batch: (from > 0).then_some((from - limit).max(0)),
    })
}

#[derive(Default)]
struct Filter {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Filter {
    /// By a part of the name or alias, or by the id.
    fn search(&mut self, term: &str) {
        self.values.push(term.to_lowercase().into_value());
        self.values.push(term.into_value());
        self.conditions.push(
            "(replace(a.name_words, $1, '') <> a.name_words OR replace(a.alias_words, $1, '') <> a.alias_words
               OR a.room_id = $2)"
                .to_owned(),
        );
    }

    fn sql(&self) -> String {
        match self.conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", self.conditions.join(" AND ")),
        }
    }
}

/// Tells of one room.
pub fn one(request: &Request) -> Result {
    admin::only(request)?;
    let room_id = admin::room(request, "roomId")?;
    let state =
        "SELECT e.json FROM rooms_current_state s JOIN rooms_events e ON e.position = s.position
         WHERE s.room_id = $1 AND s.type = $2 AND s.state_key = ''";
    let mut answers = storage::snapshot(&[
        select(&format!("{COLUMNS} WHERE a.room_id = $1"), params![room_id]),
        select(state, params![room_id, "m.room.topic"]),
        select(state, params![room_id, "m.room.avatar"]),
        select(state, params![room_id, "m.room.tombstone"]),
        select(
            "SELECT COUNT(d.device_id) AS n FROM rooms_memberships m JOIN accounts_v1_devices d ON d.user_id = m.user_id
             WHERE m.room_id = $1 AND m.membership = 'join'",
            params![room_id],
        ),
        select(
            "SELECT m.user_id FROM rooms_memberships m JOIN accounts_v1_users u ON u.user_id = m.user_id
             WHERE m.room_id = $1 AND m.forgotten = FALSE LIMIT 1",
            params![room_id],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let room = next()?.first::<Room>()?;
    let room = room.ok_or_else(|| Error::not_found("nothing is known of the room yet"))?;
    let (topic, avatar) = (content(next()?)?, content(next()?)?);
    let tombstone = content(next()?)?;
    let text = |content: &Option<serde_json::Value>, key: &str| {
        Some(content.as_ref()?.get(key)?.as_str()?.to_owned())
    };
    Answer::json(&Details {
        topic: text(&topic, "topic"),
        avatar: text(&avatar, "url"),
        replacement_room: text(&tombstone, "replacement_room"),
        tombstoned: tombstone.is_some(),
        joined_local_devices: next()?.first::<(i64,)>()?.map_or(0, |(n,)| n),
        forgotten: next()?.first::<(String,)>()?.is_none(),
        room,
    })
}

fn content(rows: Rows) -> std::result::Result<Option<serde_json::Value>, Error> {
    let Some((json,)) = rows.first::<(String,)>()? else {
        return Ok(None);
    };
    let mut event: serde_json::Value = serde_json::from_str(&json).map_err(Error::internal)?;
    Ok(event.get_mut("content").map(serde_json::Value::take))
}
