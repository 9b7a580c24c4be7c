//! Deleting files.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage;
use tessera_sdk::{clock, crypto, params, timers};

use super::{administrator, avatars, users};
use crate::place::Place;
use crate::store::files;
use crate::wait::none;

/// Files that one request, or one round after it, deletes.
const ROUND: u32 = 300;

/// What a deletion that goes on by itself is called, with what it is about behind it.
pub(crate) const TIMER: &str = "delete:";

/// Before this (in milliseconds, 1970) nothing was uploaded: a time in seconds was meant.
const SECONDS: i64 = 30_000_000_000;

/// A deletion of many files: those after the last one that it looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Job {
    /// Of other servers; else of this one.
    others: bool,
    before: i64,
    larger: i64,
    /// Pictures of users and rooms stay.
    keep_profiles: bool,
    seen: i64,
    id: String,
}

/// GET and DELETE /_synapse/admin/v1/media/{serverName}/{mediaId}
///
/// # Errors
/// `M_FORBIDDEN`; `M_NOT_FOUND` for what is not here.
pub(crate) fn one(request: &Request) -> Result {
    administrator(request)?;
    if request.method() == "GET" {
        return users::one(request);
    }
    let place = Place::of(request)?;
    if !files::delete(&place)? {
        return Err(none());
    }
    Answer::json(&json!({ "deleted_media": [place.id], "total": 1 }))
}

/// POST /_synapse/admin/v1/media/delete: files of this server that nobody has looked at since `before_ts` and that have more than `size_gt`
/// bytes, but for those that are protected or in quarantine, and pictures of users and rooms unless `keep_profiles` is false. The first
/// go before the answer, which names them; the others after it.
///
/// # Errors
/// `M_FORBIDDEN`, `M_MISSING_PARAM`, `M_INVALID_PARAM`; `M_UNKNOWN` (400) where the path names another server.
pub(crate) fn many(request: &Request) -> Result {
    administrator(request)?;
    let server = Some(request.param("serverName")).filter(|name| !name.is_empty());
    if server.is_some_and(|name| name != crypto::tenant_name()) {
        let text = "files of other servers are purged, not deleted";
        return Err(Error::with_status(400, "M_UNKNOWN", text));
    }
    let job = Job {
        others: false,
        before: before(request)?,
        larger: request.query_as::<u32>("size_gt")?.unwrap_or(0).into(),
        keep_profiles: request.query_as::<bool>("keep_profiles")?.unwrap_or(true),
        seen: -1,
        id: String::new(),
    };
    let deleted = round(job)?;
    Answer::json(&json!({ "total": deleted.len(), "deleted_media": deleted }))
}

/// POST /_synapse/admin/v1/purge_media_cache: files of other servers that nobody has looked at since `before_ts`.
///
/// # Errors
/// As [`many`].
pub(crate) fn purge(request: &Request) -> Result {
    administrator(request)?;
    let job = Job {
        others: true,
        before: before(request)?,
        larger: -1,
        keep_profiles: false,
        seen: -1,
        id: String::new(),
    };
    Answer::json(&json!({ "deleted": round(job)?.len() }))
}

/// Goes on with one of these; the timer's payload says with which.
pub(crate) fn resume(payload: &str) -> std::result::Result<(), Error> {
    // Of another version: whoever asked for it may ask again.
    let Ok(job) = serde_json::from_str::<Job>(payload) else { return Ok(()) };
    round(job).map(drop)
}

/// Deletes the next files, and sees to it that those behind them follow. The ids of those that are gone.
fn round(mut job: Job) -> std::result::Result<Vec<String>, Error> {
    let whose = if job.others { "origin <> $1" } else { "origin = $1 AND protected = FALSE" };
    let found: Vec<(String, String, i64)> = storage::query(
        &format!(
            "SELECT origin, media_id, seen_ms FROM media_files WHERE {whose} \
             AND seen_ms < $2 AND size > $3 AND uploaded_ms > 0 AND quarantined_by IS NULL \
             AND (seen_ms, media_id) > ($4, $5) ORDER BY seen_ms, media_id LIMIT $6"
        ),
        params![crypto::tenant_name(), job.before, job.larger, job.seen, &job.id, ROUND],
    )?
    .all()?;
    let more = found.len() >= ROUND as usize;
    if let Some((_, id, seen)) = found.last() {
        (job.seen, job.id) = (*seen, id.clone());
    }
    let found: Vec<Place> = found.into_iter().map(|(origin, id, _)| Place { origin, id }).collect();
    let kept = if job.keep_profiles { avatars::among(&found)? } else { HashSet::new() };
    let mut deleted = Vec::with_capacity(found.len());
    for place in found {
        if !kept.contains(&place.id) && files::delete(&place)? {
            deleted.push(place.id);
        }
    }
    if more {
        let payload = serde_json::to_string(&job).map_err(Error::internal)?;
        let Job { others, before, larger, keep_profiles, .. } = job;
        let name = format!("{TIMER}{others}:{before}:{larger}:{keep_profiles}");
        timers::set(&name, clock::now_ms().saturating_add(500), &payload)
            .map_err(Error::internal)?;
    }
    Ok(deleted)
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
    let before = before.ok_or_else(|| Error::missing_param("before_ts is missing"))?;
    if before < SECONDS {
        return Err(Error::invalid_param("before_ts is in milliseconds, and this is in 1970"));
    }
    Ok(before)
}
