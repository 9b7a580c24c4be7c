//! GET and POST /publicRooms, for the rooms of this server.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms>
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms>
//!
//! The largest rooms come first. Errors: `M_INVALID_PARAM` (limit, since), `M_NOT_FOUND` (rooms of another server),
//! `M_MISSING_TOKEN` (the list is for users only).

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage;
use tessera_sdk::{cache, crypto, params};

use crate::about::{self, About};
use crate::body;
use crate::settings::Settings;

/// With a filter, more rooms than these (the largest) are not looked at; nor is the order of more kept.
const MAX_RANKED: i64 = 5_000;
/// A page holds this many unless fewer are asked for.
const MAX_PAGE: usize = 100;

#[derive(Debug, Default, Deserialize)]
struct Filter {
    generic_search_term: Option<String>,
    room_types: Option<Vec<Option<String>>>,
}

#[derive(Debug, Default, Deserialize)]
struct Wish {
    filter: Option<Filter>,
    limit: Option<u64>,
    since: Option<String>,
}

#[derive(Default, Serialize)]
struct Response {
    chunk: Vec<About>,
    total_room_count_estimate: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
}

/// Lists rooms.
pub(super) fn get(request: &Request) -> Result {
    if !Settings::get().public_rooms_without_login {
        request.user()?;
    }
    let since = request.query("since").map(str::to_owned);
    let wish = Wish { limit: request.query_as("limit")?, since, ..Wish::default() };
    answer(request, &wish)
}

/// Lists rooms that fit a filter.
pub(super) fn post(request: &Request) -> Result {
    answer(request, &body::of(request)?)
}

fn answer(request: &Request, wish: &Wish) -> Result {
    if request.query("server").is_some_and(|server| server != crypto::tenant_name()) {
        return Err(Error::not_found("rooms of other servers are not known here"));
    }
    let from = match wish.since.as_deref() {
        None | Some("") => 0,
        Some(token) => token
            .strip_prefix('p')
            .and_then(|digits| digits.parse::<usize>().ok())
            .filter(|from| i64::try_from(*from).is_ok())
            .ok_or_else(|| Error::invalid_param("since is no token of this server"))?,
    };
    if !Settings::get().public_rooms {
        return Answer::json(&Response::default());
    }
    // Clients write 0 for "as many as you like".
    let limit = wish.limit.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let limit = limit.unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let filter = wish.filter.as_ref().and_then(Wanted::of);
    let (total, chunk) = match filter {
        None => page(from, limit)?,
        Some(wanted) => filtered(&wanted, from, limit)?,
    };
    let next = from.saturating_add(chunk.len());
    Answer::json(&Response {
        next_batch: (next < total && !chunk.is_empty()).then(|| format!("p{next}")),
        prev_batch: (from > 0).then(|| format!("p{}", from.saturating_sub(limit))),
        total_room_count_estimate: total,
        chunk,
    })
}

/// Listed rooms and their numbers of members, the largest first.
const LARGEST: &str = "SELECT l.room_id AS room_id, COUNT(m.user_id) AS n FROM rooms_v1_listed l
     LEFT JOIN rooms_v1_memberships m ON m.room_id = l.room_id AND m.membership = 'join'
     GROUP BY l.room_id ORDER BY n DESC, room_id LIMIT $1 OFFSET $2";

/// With so many members in all, the order is kept for [`KEPT_MS`]: to count them is work that anybody may ask for.
const MANY: i64 = 20_000;
/// Milliseconds.
const KEPT_MS: u32 = 60_000;
/// The order's key among what is kept.
const KEPT: &str = "largest";

/// The largest listed rooms, as they are or were not long ago.
fn largest() -> std::result::Result<Vec<(String, i64)>, Error> {
    if let Some(kept) = cache::get(KEPT).and_then(|json| serde_json::from_slice(&json).ok()) {
        return Ok(kept);
    }
    let rooms: Vec<(String, i64)> = storage::query(LARGEST, params![MAX_RANKED, 0])?.all()?;
    let members: i64 = rooms.iter().map(|(_, n)| n).sum();
    if members > MANY {
        cache::put(KEPT, &serde_json::to_vec(&rooms).map_err(Error::internal)?, KEPT_MS, &[]);
    }
    Ok(rooms)
}

/// How many rooms are listed, and some of them.
fn page(from: usize, limit: usize) -> std::result::Result<(usize, Vec<About>), Error> {
    let total = storage::query("SELECT COUNT(room_id) AS n FROM rooms_v1_listed", params![])?;
    let total = total.first::<(i64,)>()?.map_or(0, |(n,)| n);
    let some = match from.saturating_add(limit) > as_size(MAX_RANKED) {
        true => storage::query(LARGEST, params![as_integer(limit), as_integer(from)])?.all()?,
        false => largest()?.into_iter().skip(from).take(limit).collect(),
    };
    Ok((as_size(total), described(still_listed(some)?)?))
}

/// Without those that were taken off the list meanwhile.
fn still_listed(rooms: Vec<(String, i64)>) -> std::result::Result<Vec<(String, i64)>, Error> {
    let ids: Vec<String> = rooms.iter().map(|(id, _)| id.clone()).collect();
    let listed =
        storage::query("SELECT room_id FROM rooms_v1_listed WHERE room_id IN ($1)", params![ids])?;
    let listed: HashSet<String> = listed.all::<(String,)>()?.into_iter().map(|row| row.0).collect();
    Ok(rooms.into_iter().filter(|(id, _)| listed.contains(id)).collect())
}

fn as_size(n: i64) -> usize {
    usize::try_from(n).unwrap_or_default()
}

fn as_integer(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// In the same order.
fn described(rooms: Vec<(String, i64)>) -> std::result::Result<Vec<About>, Error> {
    let ids: Vec<String> = rooms.iter().map(|(id, _)| id.clone()).collect();
    let mut found = about::load(&ids)?;
    let described = rooms.into_iter().filter_map(|(id, n)| {
        found.remove(&id).map(|about| About { num_joined_members: n, ..about })
    });
    Ok(described.collect())
}

fn filtered(
    wanted: &Wanted<'_>,
    from: usize,
    limit: usize,
) -> std::result::Result<(usize, Vec<About>), Error> {
    let mut fitting = described(still_listed(largest()?)?)?;
    fitting.retain(|room| wanted.fits(room));
    Ok((fitting.len(), fitting.into_iter().skip(from).take(limit).collect()))
}

/// A filter that leaves something out.
struct Wanted<'a> {
    term: String,
    types: Option<&'a [Option<String>]>,
}

impl<'a> Wanted<'a> {
    fn of(filter: &'a Filter) -> Option<Self> {
        let term = filter.generic_search_term.as_deref().unwrap_or_default().to_lowercase();
        let types = filter.room_types.as_deref();
        (!term.is_empty() || types.is_some()).then_some(Self { term, types })
    }

    fn fits(&self, room: &About) -> bool {
        let has = |text: &Option<String>| {
            text.as_ref().is_some_and(|text| text.to_lowercase().contains(&self.term))
        };
        let texts = [&room.name, &room.topic, &room.canonical_alias];
        (self.term.is_empty() || texts.into_iter().any(has))
            && self.types.is_none_or(|types| types.contains(&room.room_type))
    }
}
