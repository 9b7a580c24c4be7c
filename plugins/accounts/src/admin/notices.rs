//! Notices from the server to its users, each in a room that only the server's own user writes in.
//!
//! Spec: client-server API, Server Notices.

mod room;
mod sender;

use serde_json::Value;
use tessera_sdk::matrix::{Error, ErrorCode, localpart};
use tessera_sdk::services::{self, RoomsError};
use tessera_sdk::storage::{self, Batch, query};
use tessera_sdk::{clock, log, params};

use crate::config::{self, ServerNotices};
use crate::ids;

/// How long an id of a notice is known.
const KNOWN_MS: u64 = 48 * 3_600_000;
/// After this long a try that was not heard of again is over: calls do not take as long.
const ATTEMPT_MS: u64 = 60_000;
/// How far clocks of two nodes may be apart.
const CLOCKS_MS: u64 = 60_000;
/// When to ask again for a notice that is being sent.
const AGAIN_MS: u64 = 1_000;
/// Events of a room in which one is looked for that may have been sent.
const MAX_LOOK: u32 = 200;

/// A notice to be sent.
#[derive(Debug, Clone)]
pub struct Notice {
    /// To whom: a user of this server who is there.
    pub user: String,
    /// Type of the event.
    pub kind: String,
    /// Where it is a state event.
    pub state_key: Option<String>,
    /// A JSON object.
    pub content: Value,
}

/// What the operator configured.
///
/// # Errors
/// 400 `M_UNKNOWN` if there are no notices.
pub fn enabled() -> Result<ServerNotices, Error> {
    let text = "server notices are not enabled on this server: `server-notices` is not configured";
    let notices = config::get()?.server_notices;
    notices.ok_or_else(|| Error::new(ErrorCode::Unknown, text).status(400))
}

/// Sends a notice; the event's id.
///
/// # Errors
/// What `rooms` says, 409 `M_USER_IN_USE` where the server's user is somebody's account, storage.
pub fn send(notice: &Notice) -> Result<String, Error> {
    let event = deliver(notice)?;
    // So that it is not taken for one that has an id. It is sent: nothing fails for this.
    let now = clock::now_ms();
    let known = forgotten(now)
        .run(
            "INSERT INTO accounts_notices (sender, txn_id, since_ms, attempt_ms, event_id) VALUES ('', $1, $2, 0, $1) \
             ON CONFLICT DO NOTHING",
            params![&event, now],
        )
        .commit_blind();
    if let Err(error) = known {
        log::warn("a server notice is not noted", &[("reason", &format!("{error:?}"))]);
    }
    Ok(event)
}

/// A batch that drops the notices of long ago.
fn forgotten(now: u64) -> Batch {
    let sql = "DELETE FROM accounts_notices WHERE since_ms < $1";
    Batch::new().run(sql, params![now.saturating_sub(KNOWN_MS)])
}

fn deliver(notice: &Notice) -> Result<String, Error> {
    let config = enabled()?;
    let sender = ids::local_user(&config.localpart);
    // One notice after another: else two rooms are made.
    storage::lock(&[format!("server-notices:{}", notice.user)], 5_000);
    let sent = (|| {
        sender::ready(&sender, &config)?;
        let room = room::of(&sender, &notice.user, &config)?;
        let key = notice.state_key.as_deref();
        services::send_as(&sender, &room, &notice.kind, key, &notice.content.to_string())
            .map_err(told)
    })();
    storage::unlock();
    sent
}

/// Sends a notice once, however often it is asked for under this id by this administrator.
///
/// # Errors
/// As [`send`]; 429 while it is being sent.
pub fn send_once(admin: &str, id: &str, notice: &Notice) -> Result<String, Error> {
    enabled()?;
    let now = clock::now_ms();
    let fresh = forgotten(now)
        .run(
            "INSERT INTO accounts_notices (sender, txn_id, since_ms, attempt_ms, event_id) VALUES ($1, $2, $3, $3, '')",
            params![admin, id, now],
        )
        .commit();
    match fresh {
        Ok(_) => {}
        Err(storage::Error::Conflict(_)) => {
            if let Some(event) = resume(admin, id, notice, now)? {
                return Ok(event);
            }
        }
        Err(error) => return Err(error.into()),
    }
    let sent = deliver(notice);
    match &sent {
        Ok(event) => note(admin, id, event)?,
        // It was not sent: the id is free for another notice.
        Err(error) if error.http_status() < 500 => {
            let sql = "DELETE FROM accounts_notices WHERE sender = $1 AND txn_id = $2";
            Batch::new().run(sql, params![admin, id]).commit_blind()?;
        }
        // Nobody knows: the next one looks.
        Err(_) => {
            let sql =
                "UPDATE accounts_notices SET attempt_ms = 0 WHERE sender = $1 AND txn_id = $2";
            Batch::new().run(sql, params![admin, id]).commit_blind()?;
        }
    }
    sent
}

/// What became of a notice that was asked for before. `None`: it was not sent, and this request is to send it now.
fn resume(admin: &str, id: &str, notice: &Notice, now: u64) -> Result<Option<String>, Error> {
    let sql = "SELECT since_ms, attempt_ms, event_id FROM accounts_notices WHERE sender = $1 AND txn_id = $2";
    let known: Option<(u64, u64, String)> = query(sql, params![admin, id])?.first()?;
    let Some((since, attempt, event)) = known else {
        return Err(Error::limit_exceeded(AGAIN_MS));
    };
    if !event.is_empty() {
        return Ok(Some(event));
    }
    if attempt.saturating_add(ATTEMPT_MS) > now {
        return Err(Error::limit_exceeded(AGAIN_MS));
    }
    let mine = Batch::new()
        .run(
            "UPDATE accounts_notices SET attempt_ms = $3 WHERE sender = $1 AND txn_id = $2 \
             AND attempt_ms = $4 AND event_id = ''",
            params![admin, id, now, attempt],
        )
        .expect(1)
        .commit();
    match mine {
        Ok(_) => {}
        Err(storage::Error::Conflict(_)) => return Err(Error::limit_exceeded(AGAIN_MS)),
        Err(error) => return Err(error.into()),
    }
    let sent = find(notice, since)?;
    if let Some(event) = &sent {
        note(admin, id, event)?;
    }
    Ok(sent)
}

/// An event in the user's room since then that is this notice and no other that is known.
fn find(notice: &Notice, since_ms: u64) -> Result<Option<String>, Error> {
    let sender = ids::local_user(&enabled()?.localpart);
    let Some(room) = room::known(&notice.user)? else { return Ok(None) };
    let sql = "SELECT event_id, json FROM rooms_v1_events WHERE room_id = $1 AND origin_ts >= $2 \
               AND sender = $3 AND type = $4 \
               AND event_id NOT IN (SELECT n.event_id FROM accounts_notices AS n WHERE n.event_id <> '') ORDER BY origin_ts, position LIMIT $5";
    // Nodes' clocks differ.
    let since_ms = since_ms.saturating_sub(CLOCKS_MS);
    let rows: Vec<(String, String)> =
        query(sql, params![room, since_ms, sender, &notice.kind, MAX_LOOK])?.all()?;
    Ok(rows.into_iter().find_map(|(event, json)| {
        let json: Value = serde_json::from_str(&json).ok()?;
        let key = json.get("state_key").and_then(Value::as_str);
        let same =
            json.get("content") == Some(&notice.content) && key == notice.state_key.as_deref();
        same.then_some(event)
    }))
}

fn note(admin: &str, id: &str, event: &str) -> Result<(), Error> {
    let sql = "UPDATE accounts_notices SET event_id = $3 WHERE sender = $1 AND txn_id = $2";
    Batch::new().run(sql, params![admin, id, event]).commit_blind()?;
    Ok(())
}

/// Whether this is the user who sends notices.
///
/// # Errors
/// `M_UNKNOWN`, as [`config::get`].
pub fn is_sender(user: &str) -> Result<bool, Error> {
    Ok(config::get()?.server_notices.is_some_and(|it| it.localpart == localpart(user)))
}

/// What `rooms` said.
fn told(error: RoomsError) -> Error {
    match error {
        RoomsError::NotFound => Error::not_found("the room is gone"),
        RoomsError::Refused((code, text)) => match ErrorCode::from_name(&code) {
            Some(known) => Error::new(known, text),
            None => Error::with_status(403, &code, text),
        },
        RoomsError::Unavailable(reason) | RoomsError::Unknown(reason) => {
            log::warn("a server notice could not be sent", &[("reason", &reason)]);
            Error::new(ErrorCode::Unknown, "the server is busy; try again").status(503)
        }
    }
}
