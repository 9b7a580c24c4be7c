//! POST /user_directory/search.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch>
//!
//! Every word of the term must begin a word of the display name or the user id. Who is found: see
//! [`crate::settings::Users`]; modules (`directory-policy`) may hide some. Errors: `M_BAD_JSON`, `M_MISSING_PARAM`.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tessera_sdk::hooks::{self, Profile};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, localpart};
use tessera_sdk::params;
use tessera_sdk::storage;

use crate::body;
use crate::consumer::INDEX;
use crate::settings::{Settings, Users};

/// Found where the client names no number, and at most. Spec: as above.
const DEFAULT_LIMIT: u64 = 10;
const MAX_LIMIT: u64 = 50;
/// So many hits are held against what the searcher may see at a time, as many as modules are shown at once.
const BATCH: u32 = 200;
/// And so many times, before the rest is given up.
const BATCHES: u32 = 5;
/// Words of a term; further ones are not looked at.
const MAX_WORDS: usize = 16;
/// Rooms of people who share none with the searcher that are looked at to find a public one.
const MAX_ROOMS: u32 = 10_000;

#[derive(Deserialize)]
struct Wish {
    search_term: Option<String>,
    limit: Option<u64>,
}

#[derive(Default, Serialize)]
struct Response {
    results: Vec<Found>,
    limited: bool,
}

#[derive(Serialize)]
struct Found {
    user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

/// Searches.
pub(super) fn handle(request: &Request) -> Result {
    let viewer = request.user()?;
    let wish: Wish = body::of(request)?;
    let term = wish.search_term.ok_or_else(|| Error::missing_param("search_term is missing"))?;
    let limit = wish.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let limit = usize::try_from(limit).map_err(Error::internal)?;
    let who = Settings::get().user_directory;
    let words = words(&term);
    if who == Users::Off || words.is_empty() {
        return Answer::json(&Response::default());
    }
    let mut results = Vec::new();
    for batch in 0..BATCHES {
        let hits = storage::search(INDEX, &words, None, BATCH, batch * BATCH)?;
        let last = hits.len() < BATCH as usize;
        let users = hits.into_iter().map(|hit| hit.key).collect();
        results.extend(visible(users, viewer, who)?);
        if last || results.len() > limit {
            break;
        }
    }
    // Who is called exactly so stands first; else the order of the index.
    let term = term.trim().trim_start_matches('@').to_lowercase();
    results.sort_by_key(|found| {
        let name = found.display_name.as_deref().unwrap_or_default().to_lowercase();
        let id = found.user_id.trim_start_matches('@').to_lowercase();
        let exact = name == term || id == term || localpart(&found.user_id) == term;
        (!exact, found.display_name.is_none() && found.avatar_url.is_none())
    });
    let limited = results.len() > limit;
    results.truncate(limit);
    Answer::json(&Response { results, limited })
}

/// The term as the index takes it: words by their beginnings.
fn words(term: &str) -> String {
    let words = term.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.take(MAX_WORDS).map(|word| format!("{word}* ")).collect()
}

/// Those of `users` whom the viewer may find, in the same order.
fn visible(users: Vec<String>, viewer: &str, who: Users) -> std::result::Result<Vec<Found>, Error> {
    let users = match who {
        Users::All => users,
        _ => near(users, viewer)?,
    };
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let rows = storage::query(
        "SELECT p.user_id, p.displayname, p.avatar_url FROM accounts_v1_profiles p
         JOIN accounts_v1_users u ON u.user_id = p.user_id
         WHERE p.user_id IN ($1) AND u.deactivated = FALSE",
        params![users.clone()],
    )?;
    let mut profiles: HashMap<String, (Option<String>, Option<String>)> = rows
        .all::<(String, Option<String>, Option<String>)>()?
        .into_iter()
        .map(|(user, name, avatar)| (user, (name, avatar)))
        .collect();
    let mut found: Vec<Found> = users
        .into_iter()
        .filter_map(|user_id| {
            let (display_name, avatar_url) = profiles.remove(&user_id)?;
            Some(Found { user_id, display_name, avatar_url })
        })
        .collect();
    if hooks::answered("tessera:hooks/directory-policy") {
        let shown: Vec<Profile> = found
            .iter()
            .map(|found| Profile {
                user: found.user_id.clone(),
                displayname: found.display_name.clone(),
                avatar_url: found.avatar_url.clone(),
            })
            .collect();
        let hidden: HashSet<String> =
            hooks::hide_from_directory(&shown, viewer).into_iter().collect();
        found.retain(|found| !hidden.contains(&found.user_id));
    }
    Ok(found)
}

/// Those who share a room with the viewer or are in a public one.
fn near(users: Vec<String>, viewer: &str) -> std::result::Result<Vec<String>, Error> {
    let rows = storage::query(
        "SELECT DISTINCT m.user_id AS user_id FROM rooms_v1_memberships m
         JOIN rooms_v1_memberships own ON own.room_id = m.room_id
         WHERE own.user_id = $1 AND own.membership = 'join' AND m.membership = 'join' AND m.user_id IN ($2)
           AND m.user_id <> own.user_id",
        params![viewer, users.clone()],
    )?;
    let mut near: HashSet<String> = rows.all::<(String,)>()?.into_iter().map(|row| row.0).collect();
    let far: Vec<String> = users.iter().filter(|user| !near.contains(*user)).cloned().collect();
    if !far.is_empty() {
        let rows = storage::query(
            "SELECT m.user_id AS user_id, s.json AS json FROM rooms_v1_memberships m
             JOIN rooms_v1_current_state s ON s.room_id = m.room_id AND s.state_key = ''
               AND s.type IN ('m.room.join_rules', 'm.room.history_visibility')
             WHERE m.membership = 'join' AND m.user_id IN ($1) LIMIT $2",
            params![far, MAX_ROOMS],
        )?;
        for (user, json) in rows.all::<(String, String)>()? {
            if !near.contains(&user) && is_open(&json) {
                near.insert(user);
            }
        }
    }
    Ok(users.into_iter().filter(|user| near.contains(user)).collect())
}

/// Whether join rules or history visibility (JSON of the event) let everybody in or read.
fn is_open(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Content {
        join_rule: Option<Value>,
        history_visibility: Option<Value>,
    }
    #[derive(Deserialize)]
    struct Event {
        content: Content,
    }
    serde_json::from_str::<Event>(json).is_ok_and(|event| {
        let Content { join_rule, history_visibility } = event.content;
        join_rule.is_some_and(|rule| rule == "public")
            || history_visibility.is_some_and(|setting| setting == "world_readable")
    })
}
