//! Files of users.

use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, select};
use tessera_sdk::{crypto, params};

use super::{administrator, delete};
use crate::config;
use crate::place::Place;
use crate::store::files::{self, COLUMNS, File};
use crate::wait::none;

/// Rows of one page, unless the request says otherwise, and at most.
pub(super) const PAGE: u32 = 100;
pub(super) const MAX_PAGE: u32 = 1000;

/// GET and DELETE /_synapse/admin/v1/users/{userId}/media
///
/// # Errors
/// `M_FORBIDDEN`; `M_UNKNOWN` (400) for users of others, `M_NOT_FOUND` for nobody, `M_INVALID_PARAM`.
pub(crate) fn media(request: &Request) -> Result {
    administrator(request)?;
    let user = request.param("userId");
    known(user)?;
    let from = request.query_as::<u32>("from")?.unwrap_or(0);
    let limit = request.query_as::<u32>("limit")?.unwrap_or(PAGE).min(MAX_PAGE);
    let order = order(request)?;
    if request.method() == "DELETE" {
        let rows = storage::query(
            &format!(
                "SELECT origin, media_id FROM media_files WHERE user_id = $1 \
                 ORDER BY {order}, media_id LIMIT $2 OFFSET $3"
            ),
            params![user, limit, from],
        )?;
        let deleted = delete::all(rows)?;
        return Answer::json(&json!({ "total": deleted.len(), "deleted_media": deleted }));
    }
    let mut answers = storage::snapshot(&[
        select(
            &format!(
                "SELECT {COLUMNS} FROM media_files WHERE user_id = $1 \
                 ORDER BY {order}, media_id LIMIT $2 OFFSET $3"
            ),
            params![user, limit, from],
        ),
        select("SELECT count(*) AS n FROM media_files WHERE user_id = $1", params![user]),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let files: Vec<File> = next()?.all()?;
    let total: Option<(u64,)> = next()?.first()?;
    let total = total.map_or(0, |(n,)| n);
    let open = |file: &File| shown(file, &[]);
    let body = json!({ "media": files.iter().map(open).collect::<Vec<_>>(), "total": total });
    Answer::json(&with_next(body, from, files.len(), total))
}

/// Says where the next page begins, if there is one.
pub(super) fn with_next(mut body: Value, from: u32, count: usize, total: u64) -> Value {
    let end = u64::from(from) + count as u64;
    if let (true, Some(map)) = (end < total, body.as_object_mut()) {
        map.insert("next_token".to_owned(), end.into());
    }
    body
}

fn known(user: &str) -> std::result::Result<(), Error> {
    let server = user.split_once(':').map(|(_, server)| server);
    if !user.starts_with('@') || server != Some(&*crypto::tenant_name()) {
        return Err(Error::with_status(400, "M_UNKNOWN", "only users of this server have files"));
    }
    let found: Option<(String,)> =
        storage::query("SELECT user_id FROM accounts_v1_users WHERE user_id = $1", params![user])?
            .first()?;
    found.map(drop).ok_or_else(|| Error::not_found("there is no such user"))
}

/// The newest first, unless the request says otherwise.
fn order(request: &Request) -> std::result::Result<String, Error> {
    let (by, dir) = (request.query("order_by"), request.query("dir"));
    if by.is_none() && dir.is_none() {
        return Ok("created_ms DESC".to_owned());
    }
    let column = match by.unwrap_or("created_ts") {
        "media_id" => "media_id",
        "upload_name" => "filename",
        "created_ts" => "created_ms",
        "last_access_ts" => "seen_ms",
        "media_length" => "size",
        "media_type" => "content_type",
        "quarantined_by" => "quarantined_by",
        "safe_from_quarantine" => "CASE WHEN protected THEN 1 ELSE 0 END",
        other => return Err(Error::invalid_param(format!("nothing is ordered by {other}"))),
    };
    Ok(format!("{column} {}", direction(dir)?))
}

/// `f` or `b`.
pub(super) fn direction(dir: Option<&str>) -> std::result::Result<&'static str, Error> {
    match dir {
        None | Some("f") => Ok("ASC"),
        Some("b") => Ok("DESC"),
        Some(_) => Err(Error::invalid_param("dir is neither f nor b")),
    }
}

fn shown(file: &File, more: &[(&str, Value)]) -> Value {
    let mut shown = json!({
        "created_ts": file.created_ms,
        "last_access_ts": file.seen_ms,
        "media_id": file.place.id,
        "media_length": file.size,
        "media_type": file.content_type,
        "quarantined_by": file.quarantined_by,
        "safe_from_quarantine": file.protected,
        "upload_name": file.filename,
        "user_id": file.user,
        "url_cache": null,
        "sha256": null,
    });
    if let Some(map) = shown.as_object_mut() {
        let frozen = config::get().map(|config| config.freeze_unauthenticated);
        let authenticated = frozen.is_ok_and(|freeze| freeze.holds(file.uploaded_ms));
        map.insert("authenticated".to_owned(), authenticated.into());
        map.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    }
    shown
}

/// GET /_synapse/admin/v1/media/{serverName}/{mediaId}
///
/// # Errors
/// `M_FORBIDDEN`; `M_NOT_FOUND` for what is not here.
pub(crate) fn one(request: &Request) -> Result {
    let place = Place::of(request)?;
    let file = files::find(&place)?.ok_or_else(none)?;
    let origin = Some(&file.place.origin).filter(|_| !place.is_local());
    let more = [("media_origin", json!(origin)), ("filesystem_id", Value::Null)];
    Answer::json(&json!({ "media_info": shown(&file, &more) }))
}
