//! PUT /_matrix/client/v3/room_keys/keys, of one room, of one session
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeys>

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, query};

use super::{Backup, TRIES, asked, find, newest, unknown};
use crate::config;

/// Bytes of one session's data.
const MAX_DATA: usize = 32 * 1024;
/// Bytes of the ids of rooms and sessions.
const MAX_ID: usize = 255;
/// Sessions of one request.
const MAX_SESSIONS: usize = 20_000;
/// Sessions looked up at once.
const CHUNK: usize = 500;

#[derive(Deserialize)]
struct Rooms {
    rooms: BTreeMap<String, Sessions>,
}

#[derive(Deserialize)]
struct Sessions {
    sessions: BTreeMap<String, Uploaded>,
}

#[derive(Deserialize)]
struct Uploaded {
    first_message_index: u32,
    forwarded_count: u32,
    is_verified: bool,
    /// An object; older algorithms have a text.
    session_data: Value,
}

/// How good a key is: the greater one stays.
/// Spec: client-server API, Server-side key backups, Backup and restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    verified: bool,
    early: std::cmp::Reverse<u32>,
    direct: std::cmp::Reverse<u32>,
}

impl Worth {
    fn of(verified: bool, first_message_index: u32, forwarded_count: u32) -> Self {
        use std::cmp::Reverse;
        Self { verified, early: Reverse(first_message_index), direct: Reverse(forwarded_count) }
    }
}

/// A session to store.
struct Session {
    room: String,
    id: String,
    first_message_index: u32,
    forwarded_count: u32,
    verified: bool,
    data: String,
}

/// # Errors
/// `M_BAD_JSON`; `M_WRONG_ROOM_KEYS_VERSION` with `current_version` where another backup is the current one; `M_NOT_FOUND`;
/// `M_TOO_LARGE`.
pub(crate) fn all(request: &Request) -> Result {
    let body: Rooms = request.json()?;
    store(request, body.rooms)
}

/// # Errors
/// As [`all`].
pub(crate) fn room(request: &Request) -> Result {
    let body: Sessions = request.json()?;
    store(request, BTreeMap::from([(request.param("roomId").to_owned(), body)]))
}

/// # Errors
/// As [`all`].
pub(crate) fn session(request: &Request) -> Result {
    let body: Uploaded = request.json()?;
    let sessions = BTreeMap::from([(request.param("sessionId").to_owned(), body)]);
    store(request, BTreeMap::from([(request.param("roomId").to_owned(), Sessions { sessions })]))
}

fn flat(rooms: BTreeMap<String, Sessions>) -> std::result::Result<Vec<Session>, Error> {
    let mut all = Vec::new();
    for (room, sessions) in rooms {
        for (id, uploaded) in sessions.sessions {
            if !uploaded.session_data.is_object() && !uploaded.session_data.is_string() {
                return Err(Error::bad_json("session_data must be an object or a text"));
            }
            let data = uploaded.session_data.to_string();
            if data.len() > MAX_DATA || id.len() > MAX_ID || room.len() > MAX_ID {
                return Err(Error::too_large("a session's data has at most 32 KiB"));
            }
            all.push(Session {
                room: room.clone(),
                id,
                first_message_index: uploaded.first_message_index,
                forwarded_count: uploaded.forwarded_count,
                verified: uploaded.is_verified,
                data,
            });
        }
    }
    if all.len() > MAX_SESSIONS {
        return Err(Error::too_large(format!("at most {MAX_SESSIONS} sessions at once")));
    }
    Ok(all)
}

/// The version that the request names, if keys may go into it.
fn target(user: &str, version: i64) -> std::result::Result<Backup, Error> {
    let current = newest(user)?.ok_or_else(unknown)?;
    if current.version == version {
        return Ok(current);
    }
    find(user, version)?.ok_or_else(unknown)?;
    let wrong = Error::new(ErrorCode::WrongRoomKeysVersion, "there is a newer backup");
    Err(wrong.and("current_version", current.version.to_string()))
}

fn store(request: &Request, rooms: BTreeMap<String, Sessions>) -> Result {
    let user = request.user()?;
    let version = asked(request)?;
    let sessions = flat(rooms)?;
    for _ in 0..TRIES {
        let backup = target(user, version)?;
        let known = known(user, version, &sessions)?;
        let mut better = Vec::new();
        let (mut keys, mut bytes) = (0_i64, 0_i64);
        for session in &sessions {
            let worth =
                Worth::of(session.verified, session.first_message_index, session.forwarded_count);
            match known.get(&(session.room.as_str(), session.id.as_str())) {
                Some((before, _)) if *before >= worth => continue,
                Some((_, size)) => bytes -= size,
                None => keys += 1,
            }
            bytes += i64::try_from(session.data.len()).unwrap_or(i64::MAX);
            better.push(session);
        }
        if better.is_empty() {
            return told(backup.etag, backup.keys);
        }
        check_room(user, keys, bytes)?;
        let rows = better.iter().map(|session| {
            params![
                user,
                version,
                &session.room,
                &session.id,
                session.first_message_index,
                session.forwarded_count,
                session.verified,
                &session.data,
                i64::try_from(session.data.len()).unwrap_or(i64::MAX),
            ]
        });
        let committed = guard(Batch::new(), user, &backup, keys, bytes)
            .run_many(
                "INSERT INTO keys_backup_keys (user_id, version, room_id, session_id, \
                 first_message_index, forwarded_count, is_verified, session_data, size) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
                 ON CONFLICT (user_id, version, room_id, session_id) DO UPDATE SET \
                 first_message_index = excluded.first_message_index, \
                 forwarded_count = excluded.forwarded_count, is_verified = excluded.is_verified, \
                 session_data = excluded.session_data, size = excluded.size",
                rows.collect(),
            )
            .commit();
        match committed {
            Ok(_) => return told(backup.etag + 1, backup.keys + keys),
            Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(storage::Error::Busy.into())
}

/// The first statement of each change: what it rests on is still so.
pub(super) fn guard(batch: Batch, user: &str, backup: &Backup, keys: i64, bytes: i64) -> Batch {
    batch
        .run(
            "UPDATE keys_backups SET etag = etag + 1, keys = $4, bytes = $5 \
             WHERE user_id = $1 AND version = $2 AND etag = $3 AND deleted = FALSE",
            params![user, backup.version, backup.etag, backup.keys + keys, backup.bytes + bytes],
        )
        .expect(1)
}

/// The answer to each change.
pub(super) fn told(etag: i64, count: i64) -> Result {
    Answer::json(&json!({ "etag": etag.to_string(), "count": count }))
}

fn check_room(user: &str, keys: i64, bytes: i64) -> std::result::Result<(), Error> {
    let config = config::get()?;
    let held: Option<(Option<i64>, Option<i64>)> = query(
        "SELECT SUM(keys), SUM(bytes) FROM keys_backups WHERE user_id = $1 AND deleted = FALSE",
        params![user],
    )?
    .first()?;
    let (held_keys, held_bytes) = held.unwrap_or_default();
    let over = |held: Option<i64>, more: i64, cap: u64| {
        u64::try_from(held.unwrap_or_default().saturating_add(more)).is_ok_and(|all| all > cap)
    };
    if over(held_keys, keys, config.backup_keys) || over(held_bytes, bytes, config.backup_bytes) {
        return Err(Error::too_large("the backups are full: delete old ones"));
    }
    Ok(())
}

type Known<'a> = BTreeMap<(&'a str, &'a str), (Worth, i64)>;

/// What is stored of these sessions: how good, and how many bytes.
fn known<'a>(
    user: &str,
    version: i64,
    sessions: &'a [Session],
) -> std::result::Result<Known<'a>, Error> {
    let mut known = Known::new();
    for chunk in sessions.chunks(CHUNK) {
        let mut rooms: Vec<String> = chunk.iter().map(|session| session.room.clone()).collect();
        rooms.dedup();
        let ids: Vec<String> = chunk.iter().map(|session| session.id.clone()).collect();
        let rows: Vec<(String, String, i64, i64, bool, i64)> = query(
            "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, size \
             FROM keys_backup_keys \
             WHERE user_id = $1 AND version = $2 AND room_id IN ($3) AND session_id IN ($4)",
            params![user, version, rooms, ids],
        )?
        .all()?;
        for (room, id, first, forwarded, verified, size) in rows {
            let same = |session: &&Session| session.room == room && session.id == id;
            let Some(session) = chunk.iter().find(same) else { continue };
            let small = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
            let worth = Worth::of(verified, small(first), small(forwarded));
            known.insert((&session.room, &session.id), (worth, size));
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::Worth;

    #[test]
    fn verified_goes_before_early_and_early_before_direct() {
        let known = Worth::of(false, 5, 5);
        assert!(Worth::of(true, 9, 9) > known);
        assert!(Worth::of(false, 4, 9) > known);
        assert!(Worth::of(false, 5, 4) > known);
        assert!(Worth::of(false, 6, 0) < known);
        assert!(Worth::of(false, 5, 5) == known);
        assert!(Worth::of(true, 9, 9) < Worth::of(true, 8, 9));
    }
}
