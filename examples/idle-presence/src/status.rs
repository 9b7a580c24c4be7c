//! GET and PUT /presence/{userId}/status

use serde::Deserialize;
use serde_json::json;
use tessera_sdk::{
    clock,
    http::{Answer, Request, Result},
    matrix::Error,
    params,
    storage::{self, Batch, position, select},
};

use crate::{configured, rooms, routes, seen};

/// Longest status message in bytes.
const MAX_STATUS: usize = 4096;
/// Users that are woken for one change; others see it when they sync next.
const MAX_WOKEN: i64 = 1000;

#[derive(Deserialize)]
struct Body {
    presence: String,
    status_msg: Option<String>,
}

/// # Errors
/// `M_FORBIDDEN` for another's status, or where no room is shared; `M_INVALID_PARAM` for an unknown state.
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

/// Sets a user's presence and tells who sees it. Where presence is off, nothing happens.
///
/// # Errors
/// `M_INVALID_PARAM` for an unknown state or a long message; storage.
pub(crate) fn set(
    user: &str,
    presence: &str,
    status_msg: Option<String>,
) -> std::result::Result<(), Error> {
    if !["online", "offline", "unavailable"].contains(&presence) {
        return Err(Error::invalid_param("presence must be online, offline or unavailable"));
    }
    if status_msg.as_ref().is_some_and(|text| text.len() > MAX_STATUS) {
        return Err(Error::invalid_param(format!("status_msg is over {MAX_STATUS} bytes")));
    }
    if !configured()?.enabled {
        return Ok(());
    }
    let read = storage::snapshot(&[
        rooms::viewers(user, MAX_WOKEN),
        select(
            "SELECT presence, status_msg FROM presence_status WHERE user_id = $1",
            params![user],
        ),
        routes::kept(user),
    ])?;
    let mut answers = read.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let told: Vec<(String,)> = next()?.all()?;
    let before: Option<(String, Option<String>)> = next()?.first()?;
    let kept = !next()?.rows.is_empty();
    let news = before != Some((presence.to_owned(), status_msg.clone()));
    let now = clock::now_ms();
    let falls = seen::falls(presence, now)?;
    let mut batch = Batch::new().relaxed().run(
        "INSERT INTO presence_seen (user_id, active_ms, falls_ms) VALUES ($1, $2, $3) \
         ON CONFLICT (user_id) DO UPDATE SET active_ms = excluded.active_ms, falls_ms = excluded.falls_ms",
        params![user, now, falls],
    );
    if news {
        batch = routes::change(batch, user, presence, status_msg.as_deref(), kept);
        let first = batch.take_positions(1);
        batch = batch
            .run(
                "INSERT INTO presence_status (user_id, presence, status_msg, last_active_ms, currently_active, position) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id) DO UPDATE SET presence = excluded.presence, \
                 status_msg = excluded.status_msg, last_active_ms = excluded.last_active_ms, \
                 currently_active = excluded.currently_active, position = excluded.position",
                params![user, presence, status_msg, now, presence == "online", position(first)],
            )
            .wake(format!("user:{user}"));
        for (viewer,) in told {
            batch = batch.wake(format!("user:{viewer}"));
        }
    } else {
        batch = routes::tidy(batch, user, kept).run(
            "UPDATE presence_status SET last_active_ms = $2 WHERE user_id = $1",
            params![user, now],
        );
    }
    batch.commit_blind()?;
    match falls {
        0 => Ok(()),
        _ => seen::set_timer(),
    }
}

fn get(request: &Request) -> Result {
    let (user, whose) = (request.user()?, request.param("userId"));
    let read = storage::snapshot(&[
        rooms::sees(user, whose),
        select(
            "SELECT p.presence, p.status_msg, p.currently_active, coalesce(s.active_ms, p.last_active_ms) \
             FROM presence_status p LEFT JOIN presence_seen s ON s.user_id = p.user_id WHERE p.user_id = $1",
            params![whose],
        ),
    ])?;
    let mut answers = read.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    if next()?.rows.is_empty() && user != whose {
        return Err(Error::forbidden("you share no room with this user"));
    }
    let row: Option<(String, Option<String>, bool, u64)> = next()?.first()?;
    let Some((presence, status, currently_active, active)) = row else {
        return Answer::json(&json!({ "presence": "offline" }));
    };
    let mut body = json!({
        "presence": presence,
        "currently_active": currently_active,
        "last_active_ago": clock::now_ms().saturating_sub(active),
    });
    if let (Some(status), Some(body)) = (status, body.as_object_mut()) {
        body.insert("status_msg".to_owned(), status.into());
    }
    Answer::json(&body)
}
