//! Deleting files.

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage;
use tessera_sdk::{crypto, params};

use super::administrator;
use crate::place::Place;
use crate::store::files;
use crate::wait::none;

/// Files that one request deletes; its answer says which, and asking again takes the next.
const ROUND: u32 = 500;

/// DELETE /_synapse/admin/v1/media/{serverName}/{mediaId}
///
/// # Errors
/// `M_FORBIDDEN`; `M_NOT_FOUND` for what is not here.
pub(crate) fn one(request: &Request) -> Result {
    administrator(request)?;
    let place = Place::of(request)?;
    if !files::delete(&place)? {
        return Err(none());
    }
    Answer::json(&json!({ "deleted_media": [place.id], "total": 1 }))
}

/// POST /_synapse/admin/v1/media/delete: files of this server that nobody has looked at since `before_ts` and that have more than `size_gt`
/// bytes, but for those that are protected or in quarantine.
///
/// # Errors
/// `M_FORBIDDEN`, `M_MISSING_PARAM`, `M_INVALID_PARAM`.
pub(crate) fn many(request: &Request) -> Result {
    administrator(request)?;
    let server = Some(request.param("serverName")).filter(|name| !name.is_empty());
    if server.is_some_and(|name| name != crypto::tenant_name()) {
        return Err(Error::invalid_param("files of other servers are purged, not deleted"));
    }
    let rows = storage::query(
        "SELECT origin, media_id FROM media_files WHERE seen_ms < $1 AND size > $2 AND origin = $3 \
         AND uploaded_ms > 0 AND protected = FALSE AND quarantined_by IS NULL ORDER BY seen_ms LIMIT $4",
        params![
            before(request)?,
            request.query_as::<i64>("size_gt")?.unwrap_or(0),
            crypto::tenant_name(),
            ROUND
        ],
    )?;
    let deleted = all(rows)?;
    Answer::json(&json!({ "total": deleted.len(), "deleted_media": deleted }))
}

/// POST /_synapse/admin/v1/purge_media_cache: files of other servers that nobody has looked at since `before_ts`.
///
/// # Errors
/// As [`many`].
pub(crate) fn purge(request: &Request) -> Result {
    administrator(request)?;
    let rows = storage::query(
        "SELECT origin, media_id FROM media_files WHERE seen_ms < $1 AND origin <> $2 \
         AND quarantined_by IS NULL ORDER BY seen_ms LIMIT $3",
        params![before(request)?, crypto::tenant_name(), ROUND],
    )?;
    Answer::json(&json!({ "deleted": all(rows)?.len() }))
}

/// Deletes what was found; the ids of what was there.
pub(crate) fn all(rows: storage::Rows) -> std::result::Result<Vec<String>, Error> {
    let found: Vec<(String, String)> = rows.all()?;
    let mut deleted = Vec::with_capacity(found.len());
    for (origin, id) in found {
        let place = Place { origin, id };
        if files::delete(&place)? {
            deleted.push(place.id);
        }
    }
    Ok(deleted)
}

fn before(request: &Request) -> std::result::Result<i64, Error> {
    let before = request.query_as::<i64>("before_ts")?;
    before.ok_or_else(|| Error::missing_param("before_ts is missing"))
}
