//! GET and PUT /_matrix/client/v3/presence/{userId}/status
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3presenceuseridstatus>

use serde::Deserialize;
use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, position, select};
use tessera_sdk::{clock, params};

use crate::config::configured;
use crate::{routes, seen};

/// Longest status message, in bytes.
const MAX_STATUS: usize = 4096;
#[derive(Deserialize)]
struct Body {
    presence: String,
    status_msg: Option<String>,
}

/// Tells or sets a user's presence.
///
/// # Errors
/// `M_FORBIDDEN` for another's status, or where presence is off or no room is shared; `M_INVALID_PARAM` for an unknown state.
pub(crate) fn handle(request: &Request) -> Result {
    match request.method() {
        "PUT" => put(request),
        _ => get(request),
    }
}

fn put(request: &Request) -> Result {
    let user = request.user()?;
    if user != request.param("userId") {
        return Err(Error::forbidden("you can only set your own presence"));
    }
    let body: Body = request.json()?;
    set(user, &body.presence, body.status_msg)?;
    Answer::empty()
}

/// Sets a user's presence and wakes who sees it. Where presence is off, nothing happens.
///
/// # Errors
/// `M_INVALID_PARAM` for an unknown state or a long message; storage.
pub(crate) fn set(
    user: &str,
    presence: &str,
    status_msg: Option<String>,
) -> std::result::Result<(), Error> {
    if !matches!(presence, "online" | "offline" | "unavailable") {
        return Err(Error::invalid_param("presence must be online, offline or unavailable"));
    }
    if status_msg.as_ref().is_some_and(|text| text.len() > MAX_STATUS) {
        return Err(Error::invalid_param(format!("status_msg is over {MAX_STATUS} bytes")));
    }
    let config = configured()?;
    if !config.enabled {
        return Ok(());
    }
    let mut answers = storage::snapshot(&[
        select(
            "SELECT presence, status_msg FROM presence_status WHERE user_id = $1",
            params![user],
        ),
        routes::stored(user),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let before: Option<(String, Option<String>)> = next()?.first()?;
    let stored = !next()?.rows.is_empty();
    let state = (presence.to_owned(), status_msg);
    let now = clock::now_ms();
    let falls = seen::falls(&config, presence, now);
    let mut batch = seen::said(Batch::new().relaxed(), user, now, falls);
    if before.is_some_and(|before| before == state) {
        // Still there is no news: nobody is woken, and the timer finds out by itself.
        batch = batch.run(
            "UPDATE presence_status SET last_active_ms = $2 WHERE user_id = $1",
            params![user, now],
        );
        if let Some(none) = routes::abandoned(user, stored) {
            batch = none.write(batch);
        }
        batch.commit_blind()?;
        return Ok(());
    }
    let watchers: Vec<(String,)> = storage::snapshot(&[seen::watchers(user)])?
        .answers()
        .next()
        .ok_or_else(|| Error::internal("an answer is missing"))?
        .all()?;
    let routes = routes::ask(user, &state.0, state.1.as_deref(), stored);
    let first = batch.take_positions(1);
    batch = batch
        .run(
            "INSERT INTO presence_status \
             (user_id, presence, status_msg, last_active_ms, currently_active, position) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id) DO UPDATE \
             SET presence = excluded.presence, status_msg = excluded.status_msg, \
             last_active_ms = excluded.last_active_ms, \
             currently_active = excluded.currently_active, position = excluded.position",
            params![user, presence, state.1, now, presence == "online", position(first)],
        )
        .wake(format!("user:{user}"));
    for (watcher,) in watchers {
        batch = batch.wake(format!("user:{watcher}"));
    }
    if let Some(routes) = routes {
        batch = routes.write(batch);
    }
    batch.commit_blind()?;
    if falls > 0 { seen::set_timer() } else { Ok(()) }
}

fn get(request: &Request) -> Result {
    let (user, wanted) = (request.user()?, request.param("userId"));
    let shared = storage::query(
        "SELECT a.room_id FROM rooms_v1_memberships a JOIN rooms_v1_memberships b \
         ON b.room_id = a.room_id WHERE a.user_id = $1 AND a.membership = 'join' \
         AND b.user_id = $2 AND b.membership = 'join' \
         UNION ALL SELECT r.user_id FROM presence_routes r WHERE r.viewer = $1 AND r.user_id = $2 LIMIT 1",
        params![user, wanted],
    )?;
    if user != wanted && shared.rows.is_empty() {
        return Err(Error::forbidden("you share no room with this user"));
    }
    let row: Option<(String, Option<String>, i64, bool)> = storage::query(
        "SELECT p.presence, p.status_msg, COALESCE(s.active_ms, p.last_active_ms) AS active_ms, p.currently_active \
         FROM presence_status p LEFT JOIN presence_seen s ON s.user_id = p.user_id WHERE p.user_id = $1",
        params![wanted],
    )?
    .first()?;
    let Some((presence, status, last_active, active)) = row else {
        return Answer::json(&json!({ "presence": "offline" }));
    };
    let ago = i64::try_from(clock::now_ms()).unwrap_or(i64::MAX).saturating_sub(last_active).max(0);
    let mut body =
        json!({ "presence": presence, "currently_active": active, "last_active_ago": ago });
    if let (Some(status), Some(map)) = (status, body.as_object_mut()) {
        map.insert("status_msg".to_owned(), status.into());
    }
    Answer::json(&body)
}
