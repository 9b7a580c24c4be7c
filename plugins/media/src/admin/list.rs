//! Which files a room has.

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, select};

use super::administrator;
use crate::place::Place;

/// Events of a room that are read at once, and how often.
const EVENTS: u32 = 2_000;
const PAGES: usize = 2_000;

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
///
/// # Errors
/// 500 for a room with more events than one request can go through: better none than some.
pub(crate) fn media_of_room(room: &str) -> std::result::Result<Vec<Place>, Error> {
    let mut places: Vec<Place> = Vec::new();
    let mut after = -1_i64;
    let mut size = EVENTS;
    for _ in 0..PAGES {
        let page = storage::snapshot(&[
            select(
                "SELECT max(e.position) AS last, count(*) AS n FROM (SELECT position \
                 FROM rooms_v1_events WHERE room_id = $1 AND position > $2 \
                 ORDER BY position LIMIT $3) e",
                params![room, after, size],
            ),
            // Most events name nothing.
            select(
                "SELECT e.json FROM (SELECT position, json FROM rooms_v1_events \
                 WHERE room_id = $1 AND position > $2 ORDER BY position LIMIT $3) e \
                 WHERE replace(e.json, 'mxc:', '') <> e.json",
                params![room, after, size],
            ),
        ]);
        let mut answers = match page {
            Err(storage::Error::TooLarge(_)) if size > 1 => {
                size /= 2;
                continue;
            }
            page => page?.answers(),
        };
        let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
        let read: Option<(Option<i64>, u64)> = next()?.first()?;
        let found: Vec<(String,)> = next()?.all()?;
        places.extend(found.iter().flat_map(|(json,)| named(json)));
        let (last, count) = read.unwrap_or_default();
        after = last.unwrap_or(after);
        if count < u64::from(size) {
            places.sort_unstable_by(|a, b| (&a.origin, &a.id).cmp(&(&b.origin, &b.id)));
            places.dedup();
            return Ok(places);
        }
    }
    Err(Error::internal("the room has too many events to go through"))
}

fn named(event: &str) -> Vec<Place> {
    Place::named(
        event,
        &[
            "/content/url",
            "/content/info/thumbnail_url",
            "/content/avatar_url",
            "/content/file/url",
            "/content/info/thumbnail_file/url",
        ],
    )
}
