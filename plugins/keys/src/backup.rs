//! Backups of room keys, encrypted by their owners.
//!
//! Spec: client-server API, Server-side key backups. Every change of a backup's keys moves its `etag` by an UPDATE that expects the one
//! that the change rests on; so `keys` and `bytes` are exact, too.

pub(crate) mod keys;
pub(crate) mod put;
pub(crate) mod versions;

use tessera_sdk::http::Request;
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, query};

/// How often a change is tried that meets another of the same backup.
const TRIES: usize = 8;
/// Rows deleted in one commit.
const CHUNK: i64 = 5000;

/// One version, without what it holds.
#[derive(Debug)]
pub(crate) struct Backup {
    version: i64,
    algorithm: String,
    auth_data: String,
    etag: i64,
    keys: i64,
    bytes: i64,
}

type Row = (i64, String, String, i64, i64, i64);

impl From<Row> for Backup {
    fn from((version, algorithm, auth_data, etag, keys, bytes): Row) -> Self {
        Self { version, algorithm, auth_data, etag, keys, bytes }
    }
}

fn unknown() -> Error {
    Error::not_found("unknown backup version")
}

/// A version of the path or query. What is no number is the name of none.
fn number(text: &str) -> Result<i64, Error> {
    text.parse().map_err(|_| unknown())
}

/// The version that a request about keys names.
fn asked(request: &Request) -> Result<i64, Error> {
    let version = request.query("version");
    number(version.ok_or_else(|| Error::missing_param("query parameter version is missing"))?)
}

/// The version that new keys go into.
fn newest(user: &str) -> Result<Option<Backup>, Error> {
    let row = query(
        "SELECT version, algorithm, auth_data, etag, keys, bytes FROM keys_backups \
         WHERE user_id = $1 AND deleted = FALSE ORDER BY version DESC LIMIT 1",
        params![user],
    )?;
    Ok(row.first::<Row>()?.map(Backup::from))
}

fn find(user: &str, version: i64) -> Result<Option<Backup>, Error> {
    let row = query(
        "SELECT version, algorithm, auth_data, etag, keys, bytes FROM keys_backups \
         WHERE user_id = $1 AND version = $2 AND deleted = FALSE",
        params![user, version],
    )?;
    Ok(row.first::<Row>()?.map(Backup::from))
}

/// Takes the keys of a deleted version away, step by step: there may be very many.
fn clear(user: &str, version: i64) -> Result<(), Error> {
    loop {
        let committed = Batch::new()
            .run(
                "DELETE FROM keys_backup_keys WHERE user_id = $1 AND version = $2 \
                 AND (room_id, session_id) IN (SELECT k.room_id, k.session_id FROM keys_backup_keys AS k \
                 WHERE k.user_id = $1 AND k.version = $2 LIMIT $3)",
                params![user, version, CHUNK],
            )
            .commit_blind()?;
        if committed.affected.first().is_none_or(|deleted| *deleted == 0) {
            return Ok(());
        }
    }
}

/// Deletes every backup of a user.
///
/// # Errors
/// Storage.
pub(crate) fn forget_all(user: &str) -> Result<(), Error> {
    let versions: Vec<(i64,)> =
        query("SELECT version FROM keys_backups WHERE user_id = $1", params![user])?.all()?;
    Batch::new()
        .run(
            "UPDATE keys_backups SET deleted = TRUE, auth_data = '', keys = 0, bytes = 0 WHERE user_id = $1",
            params![user],
        )
        .commit_blind()?;
    versions.into_iter().try_for_each(|(version,)| clear(user, version))
}
