//! Account data: what clients and services keep for a user, global or for a room.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, position, query, select, snapshot};

use crate::topics;

/// Entries of one user, over all rooms.
const MAX_ENTRIES: u64 = 20_000;
/// Bytes of one user's contents together.
const MAX_BYTES: u64 = 32 << 20;
/// Users of one commit that forgets a room.
const SLICE: i64 = 500;
/// Bytes of a type.
const MAX_TYPE: usize = 255;

/// Why an entry was not stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// Not a JSON object, or over a cap.
    Refused(Error),
    /// It changed after it was read.
    Conflict,
    /// Storage.
    Storage(storage::Error),
}

impl From<storage::Error> for Failure {
    fn from(error: storage::Error) -> Self {
        Self::Storage(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Conflict => storage::Error::Busy.into(),
            Failure::Storage(error) => error.into(),
        }
    }
}

/// An entry and the position of its last change.
pub type Entry = (String, u64);

/// The content of an entry. `room`: empty for global.
///
/// # Errors
/// Storage.
pub fn get(user: &str, room: &str, kind: &str) -> Result<Option<Entry>, Error> {
    let rows = query(
        "SELECT content, position FROM accounts_account_data \
         WHERE user_id = $1 AND room_id = $2 AND type = $3",
        params![user, room, kind],
    )?;
    Ok(rows.first()?)
}

/// Checks that a content is a JSON object; its text, unchanged.
///
/// # Errors
/// `M_NOT_JSON` or `M_BAD_JSON`.
pub fn check(content: &[u8]) -> Result<String, Error> {
    let raw: &RawValue =
        serde_json::from_slice(content).map_err(|error| Error::not_json(error.to_string()))?;
    serde_json::from_str::<Map<String, Value>>(raw.get())
        .map_err(|error| Error::bad_json(format!("the content is no JSON object: {error}")))?;
    Ok(raw.get().to_owned())
}

/// Stores an entry and wakes the user's syncs. The same content again changes nothing.
///
/// # Errors
/// See [`Failure`]; there is no conflict.
pub fn put(user: &str, room: &str, kind: &str, content: &str) -> Result<(), Failure> {
    if kind.is_empty() || kind.len() > MAX_TYPE {
        return Err(Failure::Refused(Error::invalid_param("types have 1 to 255 bytes")));
    }
    if !changes(user, room, kind, content)? {
        return Ok(());
    }
    let mut batch = changed(user, room, kind, content);
    let at = batch.take_positions(1);
    batch
        .run(
            "INSERT INTO accounts_account_data (user_id, room_id, type, content, position, size) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id, room_id, type) \
             DO UPDATE SET content = excluded.content, position = excluded.position, size = excluded.size",
            params![user, room, kind, content, position(at), size(content)],
        )
        .commit()?;
    Ok(())
}

/// Whether this is not what is there.
///
/// # Errors
/// `M_TOO_LARGE` where the user has too much then; storage.
fn changes(user: &str, room: &str, kind: &str, content: &str) -> Result<bool, Failure> {
    let moment = snapshot(&[
        select(
            "SELECT content FROM accounts_account_data \
             WHERE user_id = $1 AND room_id = $2 AND type = $3",
            params![user, room, kind],
        ),
        select(
            "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM accounts_account_data WHERE user_id = $1",
            params![user],
        ),
    ])?;
    let mut answers = moment.answers();
    let now = answers.next().and_then(|rows| rows.first::<(String,)>().ok().flatten());
    let all = answers.next().and_then(|rows| rows.first::<(u64, u64)>().ok().flatten());
    let (entries, bytes) = all.unwrap_or((u64::MAX, u64::MAX));
    let full = match now {
        Some((now,)) if now == content => return Ok(false),
        // What gets smaller always may.
        Some((now,)) if size(content) <= size(&now) => false,
        Some((now,)) => bytes.saturating_sub(size(&now)).saturating_add(size(content)) > MAX_BYTES,
        None => entries >= MAX_ENTRIES || bytes.saturating_add(size(content)) > MAX_BYTES,
    };
    if full {
        return Err(Failure::Refused(Error::too_large("too much account data")));
    }
    Ok(true)
}

/// Stores what was made from an entry that was read: `before` is its position, `None` if there was none.
///
/// # Errors
/// See [`Failure`].
pub fn replace(
    user: &str,
    room: &str,
    kind: &str,
    before: Option<u64>,
    content: &str,
) -> Result<(), Failure> {
    if !changes(user, room, kind, content)? {
        return Ok(());
    }
    let mut batch = changed(user, room, kind, content);
    let at = batch.take_positions(1);
    let batch = match before {
        Some(before) => batch
            .run(
                "UPDATE accounts_account_data SET content = $4, position = $5, size = $7 \
                 WHERE user_id = $1 AND room_id = $2 AND type = $3 AND position = $6",
                params![user, room, kind, content, position(at), before, size(content)],
            )
            .expect(1),
        None => batch.run(
            "INSERT INTO accounts_account_data (user_id, room_id, type, content, position, size) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            params![user, room, kind, content, position(at), size(content)],
        ),
    };
    match batch.commit() {
        Ok(_) => Ok(()),
        Err(storage::Error::Conflict(_)) => Err(Failure::Conflict),
        Err(error) => Err(error.into()),
    }
}

/// Forgets what users keep for a room that is gone, tags among it. Nobody is told: their clients do not see the room any more.
///
/// # Errors
/// Storage.
pub fn forget_room(room: &str) -> Result<(), Error> {
    loop {
        let users: Vec<(String,)> = query(
            "SELECT DISTINCT user_id FROM accounts_account_data WHERE room_id = $1 LIMIT $2",
            params![room, SLICE],
        )?
        .all()?;
        if users.is_empty() {
            return Ok(());
        }
        let users: Vec<String> = users.into_iter().map(|(user,)| user).collect();
        Batch::new()
            .run(
                "DELETE FROM accounts_account_data WHERE room_id = $1 AND user_id IN ($2)",
                params![room, users],
            )
            .commit_blind()?;
    }
}

/// A batch that tells of a changed entry.
fn changed(user: &str, room: &str, kind: &str, content: &str) -> Batch {
    Batch::new().wake(topics::user(user)).emit(
        topics::DATA,
        user,
        topics::data(user, room, kind, content),
    )
}

fn size(content: &str) -> u64 {
    content.len() as u64
}
