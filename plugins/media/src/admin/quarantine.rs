//! Taking files out of sight: such a file is there for nobody, and nothing of it is lost.

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::Batch;
use tessera_sdk::{crypto, params};

use super::administrator;
use super::list::media_of_room;
use crate::place::Place;
use crate::wait::none;

/// Files of one commit.
const CHUNK: usize = 500;

/// POST /_synapse/admin/v1/media/quarantine/{serverName}/{mediaId}
///
/// # Errors
/// `M_FORBIDDEN`; `M_NOT_FOUND` for what is not here.
pub(crate) fn one(request: &Request) -> Result {
    let admin = administrator(request)?;
    touched(set(&Place::of(request)?, Some(admin))?)
}

/// POST /_synapse/admin/v1/media/unquarantine/{serverName}/{mediaId}
///
/// # Errors
/// As [`one`].
pub(crate) fn release(request: &Request) -> Result {
    administrator(request)?;
    touched(set(&Place::of(request)?, None)?)
}

/// POST /_synapse/admin/v1/media/protect/{mediaId}
///
/// # Errors
/// As [`one`].
pub(crate) fn protect(request: &Request) -> Result {
    protection(request, true)
}

/// POST /_synapse/admin/v1/media/unprotect/{mediaId}
///
/// # Errors
/// As [`one`].
pub(crate) fn unprotect(request: &Request) -> Result {
    protection(request, false)
}

fn protection(request: &Request, on: bool) -> Result {
    administrator(request)?;
    let place = Place::new(&crypto::tenant_name(), request.param("mediaId")).ok_or_else(none)?;
    let done = Batch::new()
        .run(
            "UPDATE media_files SET protected = $3 WHERE origin = $1 AND media_id = $2",
            params![&place.origin, &place.id, on],
        )
        .commit_blind()?;
    touched(done.affected.first().copied().unwrap_or(0))
}

/// POST /_synapse/admin/v1/user/{userId}/media/quarantine
///
/// # Errors
/// `M_FORBIDDEN`
pub(crate) fn user(request: &Request) -> Result {
    let admin = administrator(request)?;
    let done = Batch::new()
        .run(
            "UPDATE media_files SET quarantined_by = $2 WHERE user_id = $1 \
             AND quarantined_by IS NULL AND protected = FALSE AND uploaded_ms > 0",
            params![request.param("userId"), admin],
        )
        .commit_blind()?;
    Answer::json(&json!({ "num_quarantined": done.affected.first().copied().unwrap_or(0) }))
}

/// POST /_synapse/admin/v1/room/{roomId}/media/quarantine
///
/// # Errors
/// `M_FORBIDDEN`
pub(crate) fn room(request: &Request) -> Result {
    let admin = administrator(request)?;
    let mut count = 0;
    for places in media_of_room(request.param("roomId"))?.chunks(CHUNK) {
        let rows = places.iter().map(|place| params![&place.origin, &place.id, admin]).collect();
        let done = Batch::new()
            .run_many(
                "UPDATE media_files SET quarantined_by = $3 WHERE origin = $1 AND media_id = $2 \
                 AND protected = FALSE AND quarantined_by IS NULL",
                rows,
            )
            .commit_blind()?;
        count += done.affected.first().copied().unwrap_or(0);
    }
    Answer::json(&json!({ "num_quarantined": count }))
}

/// How many rows it was.
fn set(place: &Place, by: Option<&str>) -> std::result::Result<u64, Error> {
    let done = Batch::new()
        .run(
            "UPDATE media_files SET quarantined_by = $3 WHERE origin = $1 AND media_id = $2",
            params![&place.origin, &place.id, by],
        )
        .commit_blind()?;
    Ok(done.affected.first().copied().unwrap_or(0))
}

fn touched(rows: u64) -> Result {
    if rows == 0 { Err(none()) } else { Answer::empty() }
}
