//! `/_synapse/admin/v1/users/{userId}`: what a user has.
//!
//! Not in the Matrix specification; dashboards and test suites speak it.
//! https://element-hq.github.io/synapse/latest/admin_api/user_admin_api.html

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Continued, Piece, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::query;

use crate::{admin, ids};

/// Rows read at once.
const PAGE: u32 = 1000;

/// Rooms and what the user is there, by room id; `joined`: only rooms that they are in.
fn rooms(user: &str, joined: bool) -> std::result::Result<Vec<(String, String)>, Error> {
    let only = if joined { "AND membership = 'join'" } else { "" };
    let sql = format!(
        "SELECT room_id, membership FROM rooms_v1_memberships WHERE user_id = $1 {only} AND room_id > $2 \
         ORDER BY room_id LIMIT $3"
    );
    let mut all: Vec<(String, String)> = Vec::new();
    loop {
        let after = all.last().map_or("", |(room, _)| room.as_str());
        let page: Vec<(String, String)> = query(&sql, params![user, after, PAGE])?.all()?;
        let last = page.len() < PAGE as usize;
        all.extend(page);
        if last {
            return Ok(all);
        }
    }
}

/// Somebody of this server or another; of those elsewhere there is what this server knows.
fn anybody(request: &Request) -> std::result::Result<&str, Error> {
    admin::only(request)?;
    ids::user_in_path(request.param("userId"))
}

/// `GET …/joined_rooms`. `M_INVALID_PARAM`.
pub fn joined_rooms(request: &Request) -> Result {
    let rooms = rooms(anybody(request)?, true)?;
    let rooms: Vec<String> = rooms.into_iter().map(|(room, _)| room).collect();
    Answer::json(&json!({ "total": rooms.len(), "joined_rooms": rooms }))
}

/// `GET …/memberships`. `M_INVALID_PARAM`.
pub fn memberships(request: &Request) -> Result {
    let rooms = rooms(anybody(request)?, false)?;
    let all: Map<String, Value> =
        rooms.into_iter().map(|(room, membership)| (room, membership.into())).collect();
    Answer::json(&json!({ "memberships": all }))
}

/// What is told of a pusher.
const PUSHER: [&str; 8] = [
    "app_display_name",
    "app_id",
    "data",
    "device_display_name",
    "kind",
    "lang",
    "profile_tag",
    "pushkey",
];

/// `GET …/pushers`: those of devices that are gone are void. `M_NOT_FOUND`.
pub fn pushers(request: &Request) -> Result {
    let user = admin::target(request)?;
    let sql = "SELECT p.content FROM push_v1_pushers AS p WHERE p.user_id = $1 AND (p.device_id = '' OR EXISTS \
               (SELECT d.device_id FROM accounts_devices AS d WHERE d.user_id = $1 AND d.device_id = p.device_id)) \
               ORDER BY p.created_ms, p.app_id, p.pushkey";
    let rows: Vec<(String,)> = query(sql, params![user])?.all()?;
    let mut pushers = Vec::new();
    for (content,) in rows {
        let mut content: Map<String, Value> =
            serde_json::from_str(&content).map_err(Error::internal)?;
        content.retain(|name, _| PUSHER.contains(&name.as_str()));
        for name in PUSHER {
            content.entry(name).or_insert(Value::Null);
        }
        pushers.push(Value::Object(content));
    }
    Answer::json(&json!({ "total": pushers.len(), "pushers": pushers }))
}

/// Where an answer goes on: the user, and the room and type of the last entry that was told.
#[derive(Debug, Serialize, Deserialize)]
struct After {
    user: String,
    room: String,
    kind: String,
}

/// Entries of account data read at once: one may have half a megabyte.
const SMALL_PAGE: u32 = 25;
/// What is kept between two pieces begins with it.
const STATE_VERSION: u8 = 1;
/// Bytes of one piece of an answer, a page more at most.
const PIECE: usize = 1 << 20;

/// `GET …/accountdata`: global and by room. In pieces: a user may have 32 MiB of it. `M_NOT_FOUND`.
pub fn account_data(request: &Request) -> Result {
    let user = admin::target(request)?.to_owned();
    let mut text = r#"{"account_data":{"global":{"#.to_owned();
    let more = pages(&mut text, After { user, room: String::new(), kind: String::new() })?;
    let answer = Answer::raw_json(200, text.into_bytes());
    match more {
        Some(after) => answer.and_then(&kept(&after)?),
        None => Ok(answer),
    }
}

/// The next piece of [`account_data`].
///
/// # Errors
/// Storage.
pub fn account_data_next(continued: &Continued) -> std::result::Result<Piece, Error> {
    let mut text = String::new();
    let after = match continued.state.split_first() {
        Some((&STATE_VERSION, json)) => serde_json::from_slice(json).map_err(Error::internal)?,
        _ => return Err(Error::internal("begun by an unknown version")),
    };
    let more = pages(&mut text, after)?;
    Ok(Piece { bytes: text.into_bytes(), more: more.as_ref().map(kept).transpose()? })
}

fn kept(after: &After) -> std::result::Result<Vec<u8>, Error> {
    let mut state = vec![STATE_VERSION];
    state.extend(serde_json::to_vec(after).map_err(Error::internal)?);
    Ok(state)
}

/// Writes entries until it is much, or all; where it goes on.
fn pages(text: &mut String, mut after: After) -> std::result::Result<Option<After>, Error> {
    let sql = "SELECT room_id, type, content FROM accounts_account_data WHERE user_id = $1 \
               AND (room_id, type) > ($2, $3) ORDER BY room_id, type LIMIT $4";
    let quoted = |text: &str| Value::from(text).to_string();
    loop {
        let args = params![&after.user, &after.room, &after.kind, SMALL_PAGE];
        let page: Vec<(String, String, String)> = query(sql, args)?.all()?;
        let last = page.len() < SMALL_PAGE as usize;
        for (room, kind, content) in page {
            if room != after.room {
                // Global data stands before that of rooms.
                text.push_str(if after.room.is_empty() { r#"},"rooms":{"# } else { "}," });
                text.push_str(&quoted(&room));
                text.push_str(":{");
            } else if !after.kind.is_empty() {
                text.push(',');
            }
            text.push_str(&quoted(&kind));
            text.push(':');
            text.push_str(&content);
            (after.room, after.kind) = (room, kind);
        }
        if last {
            text.push_str(if after.room.is_empty() { r#"},"rooms":{}}}"# } else { "}}}}" });
            return Ok(None);
        }
        if text.len() >= PIECE {
            return Ok(Some(after));
        }
    }
}
