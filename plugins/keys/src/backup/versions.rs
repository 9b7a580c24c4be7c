//! /_matrix/client/v3/room_keys/version
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3room_keysversion>

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, query};

use super::{Backup, TRIES, clear, find, newest, number, unknown};

/// Versions of one user that are not deleted.
const MAX_VERSIONS: i64 = 100;
/// Bytes of `auth_data`, and of an algorithm's name.
const MAX_AUTH_DATA: usize = 64 * 1024;
const MAX_ALGORITHM: usize = 255;

/// Algorithm and `auth_data`, JSON of any kind.
fn body(map: &Map<String, Value>) -> std::result::Result<(&str, String), Error> {
    let missing = |name: &str| Error::missing_param(format!("{name} is missing"));
    let algorithm = map.get("algorithm").ok_or_else(|| missing("algorithm"))?;
    let algorithm =
        algorithm.as_str().ok_or_else(|| Error::bad_json("algorithm must be a text"))?;
    let auth_data = map.get("auth_data").ok_or_else(|| missing("auth_data"))?.to_string();
    if auth_data.len() > MAX_AUTH_DATA || algorithm.len() > MAX_ALGORITHM {
        return Err(Error::too_large("auth_data has at most 64 KiB"));
    }
    Ok((algorithm, auth_data))
}

/// # Errors
/// `M_MISSING_PARAM`, `M_BAD_JSON`, `M_TOO_LARGE`; `M_FORBIDDEN` for too many versions.
pub(crate) fn create(request: &Request) -> Result {
    let user = request.user()?;
    let map: Map<String, Value> = request.json()?;
    let (algorithm, auth_data) = body(&map)?;
    for _ in 0..TRIES {
        let known: Option<(i64, i64)> = query(
            "SELECT COALESCE(MAX(version), 0), COUNT(*) FILTER (WHERE deleted = FALSE) \
             FROM keys_backups WHERE user_id = $1",
            params![user],
        )?
        .first()?;
        let (last, count) = known.unwrap_or_default();
        if count >= MAX_VERSIONS {
            return Err(Error::forbidden("too many backups: delete some of them"));
        }
        let version = last + 1;
        let committed = Batch::new()
            .run(
                "INSERT INTO keys_backups (user_id, version, algorithm, auth_data, etag, keys, bytes, deleted) \
                 VALUES ($1, $2, $3, $4, 0, 0, 0, FALSE)",
                params![user, version, algorithm, &auth_data],
            )
            .commit();
        match committed {
            Ok(_) => return Answer::json(&json!({ "version": version.to_string() })),
            // Another device has made one at the same moment.
            Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(storage::Error::Busy.into())
}

fn show(backup: Backup) -> Result {
    let auth_data = RawValue::from_string(backup.auth_data).map_err(Error::internal)?;
    Answer::json(&json!({
        "algorithm": backup.algorithm,
        "auth_data": auth_data,
        "count": backup.keys,
        "etag": backup.etag.to_string(),
        "version": backup.version.to_string(),
    }))
}

/// # Errors
/// `M_NOT_FOUND` where there is no backup.
pub(crate) fn current(request: &Request) -> Result {
    let none = || Error::not_found("no current backup version");
    show(newest(request.user()?)?.ok_or_else(none)?)
}

/// GET and DELETE of one version. What was deleted before is deleted without an error.
///
/// # Errors
/// `M_NOT_FOUND`.
pub(crate) fn handle(request: &Request) -> Result {
    let user = request.user()?;
    let version = number(request.param("version"))?;
    if request.method() == "GET" {
        return show(find(user, version)?.ok_or_else(unknown)?);
    }
    let committed = Batch::new()
        .run(
            "UPDATE keys_backups SET deleted = TRUE, auth_data = '', keys = 0, bytes = 0, etag = etag + 1 \
             WHERE user_id = $1 AND version = $2",
            params![user, version],
        )
        .commit_blind()?;
    if committed.affected.first() != Some(&1) {
        return Err(unknown());
    }
    clear(user, version)?;
    Answer::empty()
}

/// PUT of one version: new `auth_data`.
///
/// # Errors
/// `M_NOT_FOUND`; `M_INVALID_PARAM` for another algorithm or version; as [`create`].
pub(crate) fn update(request: &Request) -> Result {
    let user = request.user()?;
    let map: Map<String, Value> = request.json()?;
    let (algorithm, auth_data) = body(&map)?;
    let path = request.param("version");
    if map.get("version").is_some_and(|version| version.as_str() != Some(path)) {
        return Err(Error::invalid_param("the version of the body is not that of the path"));
    }
    let version = number(path)?;
    let before = find(user, version)?.ok_or_else(unknown)?;
    if before.algorithm != algorithm {
        return Err(Error::invalid_param("the algorithm of a backup cannot be changed"));
    }
    let committed = Batch::new()
        .run(
            "UPDATE keys_backups SET auth_data = $3 WHERE user_id = $1 AND version = $2 AND deleted = FALSE",
            params![user, version, auth_data],
        )
        .commit_blind()?;
    if committed.affected.first() != Some(&1) {
        return Err(unknown());
    }
    Answer::empty()
}
