//! Which files there are.

use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, select};

use super::{administrator, delete};
use crate::place::Place;
use crate::store::files::{COLUMNS, File};

/// Files of one page, unless the request says otherwise, and at most.
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 1000;
/// Events of a room that are read at once, and in all.
const EVENTS: u32 = 2_000;
const MAX_EVENTS: usize = 200_000;

/// GET and DELETE /_synapse/admin/v1/users/{userId}/media
///
/// # Errors
/// `M_FORBIDDEN`, `M_INVALID_PARAM`.
pub(crate) fn user(request: &Request) -> Result {
    administrator(request)?;
    let user = request.param("userId");
    let from = request.query_as::<u32>("from")?.unwrap_or(0);
    let limit = request.query_as::<u32>("limit")?.unwrap_or(PAGE).min(MAX_PAGE);
    if request.method() == "DELETE" {
        let rows = storage::query(
            "SELECT origin, media_id FROM media_files WHERE user_id = $1 \
             ORDER BY created_ms DESC, media_id LIMIT $2 OFFSET $3",
            params![user, limit, from],
        )?;
        let deleted = delete::all(rows)?;
        return Answer::json(&json!({ "total": deleted.len(), "deleted_media": deleted }));
    }
    let mut answers = storage::snapshot(&[
        select(
            &format!(
                "SELECT {COLUMNS} FROM media_files WHERE user_id = $1 \
                 ORDER BY created_ms DESC, media_id LIMIT $2 OFFSET $3"
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
    let end = u64::from(from) + files.len() as u64;
    let mut body = json!({ "media": files.iter().map(shown).collect::<Vec<_>>(), "total": total });
    if let (true, Some(map)) = (end < total, body.as_object_mut()) {
        map.insert("next_token".to_owned(), end.into());
    }
    Answer::json(&body)
}

fn shown(file: &File) -> Value {
    json!({
        "created_ts": file.created_ms,
        "last_access_ts": file.seen_ms,
        "media_id": file.place.id,
        "media_length": file.size,
        "media_type": file.content_type,
        "quarantined_by": file.quarantined_by,
        "safe_from_quarantine": file.protected,
        "upload_name": file.filename,
    })
}

/// GET /_synapse/admin/v1/room/{roomId}/media
///
/// # Errors
/// `M_FORBIDDEN`
pub(crate) fn room(request: &Request) -> Result {
    administrator(request)?;
    let (local, remote): (Vec<Place>, Vec<Place>) =
        media_of_room(request.param("roomId"))?.into_iter().partition(Place::is_local);
    let uris = |places: Vec<Place>| places.iter().map(Place::uri).collect::<Vec<_>>();
    Answer::json(&json!({ "local": uris(local), "remote": uris(remote) }))
}

/// What the events of a room name, in the places where the specification puts it. Of an encrypted room nothing is known.
pub(crate) fn media_of_room(room: &str) -> std::result::Result<Vec<Place>, Error> {
    let mut places: Vec<Place> = Vec::new();
    let (mut after, mut read) = (-1_i64, 0);
    loop {
        let rows: Vec<(i64, String)> = storage::query(
            "SELECT position, json FROM rooms_v1_events WHERE room_id = $1 AND position > $2 \
             ORDER BY position LIMIT $3",
            params![room, after, EVENTS],
        )?
        .all()?;
        let Some((last, _)) = rows.last() else { break };
        after = *last;
        read += rows.len();
        for (_, json) in &rows {
            // Most events name nothing.
            if json.contains("mxc:") {
                places.extend(named(json));
            }
        }
        if rows.len() < EVENTS as usize || read >= MAX_EVENTS {
            break;
        }
    }
    places.sort_unstable_by(|a, b| (&a.origin, &a.id).cmp(&(&b.origin, &b.id)));
    places.dedup();
    Ok(places)
}

fn named(event: &str) -> Vec<Place> {
    let Ok(event) = serde_json::from_str::<Value>(event) else { return Vec::new() };
    ["/content/url", "/content/info/thumbnail_url", "/content/avatar_url", "/content/file/url"]
        .iter()
        .filter_map(|place| event.pointer(place)?.as_str())
        .filter_map(Place::of_uri)
        .collect()
}
