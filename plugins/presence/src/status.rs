//! GET and PUT /_matrix/client/v3/presence/{userId}/status
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3presenceuseridstatus>

use serde::Deserialize;
use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, position, select};
use tessera_sdk::{clock, config, params};

use crate::routes;

/// Longest status message, in bytes.
const MAX_STATUS: usize = 4096;
/// Users that are woken for one change; others see it when they sync next.
const MAX_WOKEN: i64 = 1000;

/// `[plugins.presence.config]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Whether presence is told at all.
    enabled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: true }
    }
}

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
    if !config::get::<Config>().map_err(Error::internal)?.enabled {
        return Ok(());
    }
    let mut answers = storage::snapshot(&[
        select(
            "SELECT DISTINCT b.user_id FROM rooms_v1_memberships a \
             JOIN rooms_v1_memberships b ON b.room_id = a.room_id \
             WHERE a.user_id = $1 AND a.membership = 'join' AND b.membership = 'join' \
             UNION SELECT r.viewer FROM presence_routes r WHERE r.user_id = $1 AND r.wanted = TRUE LIMIT $2",
            params![user, MAX_WOKEN],
        ),
        select(
            "SELECT presence, status_msg FROM presence_status WHERE user_id = $1",
            params![user],
        ),
        routes::stored(user),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let watchers: Vec<(String,)> = next()?.all()?;
    let before: Option<(String, Option<String>)> = next()?.first()?;
    let stored = !next()?.rows.is_empty();
    let now = (presence.to_owned(), status_msg);
    if before.is_some_and(|before| before == now) {
        // Still there is no news: nobody is woken.
        let mut batch = Batch::new().relaxed().run(
            "UPDATE presence_status SET last_active_ms = $2 WHERE user_id = $1",
            params![user, clock::now_ms()],
        );
        if let Some(none) = routes::abandoned(user, stored) {
            batch = none.write(batch);
        }
        batch.commit_blind()?;
        return Ok(());
    }
    let routes = routes::ask(user, &now.0, now.1.as_deref(), stored);
    let mut batch = Batch::new().relaxed();
    let first = batch.take_positions(1);
    batch = batch
        .run(
            "INSERT INTO presence_status \
             (user_id, presence, status_msg, last_active_ms, currently_active, position) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id) DO UPDATE \
             SET presence = excluded.presence, status_msg = excluded.status_msg, \
             last_active_ms = excluded.last_active_ms, \
             currently_active = excluded.currently_active, position = excluded.position",
            params![user, presence, now.1, clock::now_ms(), presence == "online", position(first),],
        )
        .wake(format!("user:{user}"));
    for (watcher,) in watchers {
        batch = batch.wake(format!("user:{watcher}"));
    }
    if let Some(routes) = routes {
        batch = routes.write(batch);
    }
    batch.commit_blind()?;
    Ok(())
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
        "SELECT presence, status_msg, last_active_ms, currently_active \
         FROM presence_status WHERE user_id = $1",
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
