//! Files that are pictures of users or rooms.

use std::collections::HashSet;

use serde_json::Value;
use tessera_sdk::matrix::Error;
use tessera_sdk::{params, storage};

use crate::place::Place;

/// Rooms that are read at once.
const ROOMS: u32 = 1_000;

/// Those of these files that are, whoever uploaded them: media ids of this server.
pub(super) fn among(files: &[Place]) -> Result<HashSet<String>, Error> {
    let wanted: HashSet<String> = files.iter().map(Place::uri).collect();
    let uris: Vec<String> = wanted.iter().cloned().collect();
    let mut found = HashSet::new();
    let mut see = |uri: &str| {
        if let Some(place) = Place::of_uri(uri).filter(|_| wanted.contains(uri)) {
            found.insert(place.id);
        }
    };
    // Everywhere, and in single rooms.
    for sql in [
        "SELECT DISTINCT avatar_url FROM accounts_v1_profiles \
         WHERE avatar_url IN ($1) AND length(avatar_url) <= 600",
        "SELECT DISTINCT avatar_url FROM rooms_v1_memberships \
         WHERE avatar_url IN ($1) AND length(avatar_url) <= 600",
    ] {
        let urls: Vec<(String,)> = storage::query(sql, params![uris.clone()])?.all()?;
        urls.iter().for_each(|(url,)| see(url));
    }
    let mut after = String::new();
    loop {
        let rooms: Vec<(String, String)> = storage::query(
            "SELECT room_id, json FROM rooms_v1_current_state WHERE type = 'm.room.avatar' \
             AND state_key = '' AND room_id > $1 ORDER BY room_id LIMIT $2",
            params![&after, ROOMS],
        )?
        .all()?;
        for (_, event) in &rooms {
            let event: Option<Value> = serde_json::from_str(event).ok();
            let url = event.as_ref().and_then(|event| event.pointer("/content/url")?.as_str());
            url.iter().for_each(|url| see(url));
        }
        match rooms.last() {
            Some((last, _)) if rooms.len() >= ROOMS as usize => after.clone_from(last),
            _ => return Ok(found),
        }
    }
}
