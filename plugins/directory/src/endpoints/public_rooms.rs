//! GET and POST /publicRooms, for the rooms of this server.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms>
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms>
//!
//! The largest rooms come first. Errors: `M_INVALID_PARAM` (limit, since), `M_NOT_FOUND` (rooms of another server),
//! `M_MISSING_TOKEN` (the list is for users only).

use serde::{Deserialize, Serialize};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, IntoValue, Value, select};
use tessera_sdk::{crypto, params};

use crate::about::{self, About};
use crate::body;
use crate::settings::Settings;

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
    let wanted = Wanted::of(wish.filter.as_ref().unwrap_or(&Filter::default()));
    let Page { total, rows, chunk } = wanted.page(from, limit)?;
    let next = from.saturating_add(rows);
    Answer::json(&Response {
        next_batch: (next < total && rows > 0).then(|| format!("p{next}")),
        prev_batch: (from > 0).then(|| format!("p{}", from.saturating_sub(limit))),
        total_room_count_estimate: total,
        chunk,
    })
}

/// A page of the list.
struct Page {
    /// Rooms that fit, on all pages.
    total: usize,
    /// Rows of the list on this one: pages are counted by them.
    rows: usize,
    /// What is known of them: a room that has just gone is not among these.
    chunk: Vec<About>,
}

/// What of the list is wanted: a condition on `rooms_v1_public`, and what stands in it.
struct Wanted {
    condition: String,
    values: Vec<Value>,
}

impl Wanted {
    /// A room fits whose name, topic or alias holds the term, in capital or small letters, and whose type is among those asked for.
    fn of(filter: &Filter) -> Self {
        let (mut conditions, mut values) = (Vec::new(), Vec::new());
        let term = filter.generic_search_term.as_deref().unwrap_or_default().to_lowercase();
        if !term.is_empty() {
            values.push(term.into_value());
            // A term is in a text that is another without it. The list is gone through: no index finds parts of words.
            let holds = |column: &str| format!("replace({column}, $1, '') <> {column}");
            let columns = ["name_words", "topic_words", "alias_words"].map(holds);
            conditions.push(format!("({})", columns.join(" OR ")));
        }
        if let Some(types) = &filter.room_types {
            let named: Vec<String> = types.iter().flatten().cloned().collect();
            values.push(named.into_value());
            let none = if types.contains(&None) { " OR room_type IS NULL" } else { "" };
            conditions.push(format!("(room_type IN (${}){none})", values.len()));
        }
        let condition = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        Self { condition, values }
    }

    /// Some of the rooms that fit, the largest first.
    fn page(self, from: usize, limit: usize) -> std::result::Result<Page, Error> {
        let Self { condition, values } = self;
        let mut paged = values.clone();
        paged.extend(params![as_integer(limit), as_integer(from)]);
        let (take, skip) = (paged.len() - 1, paged.len());
        let mut answers = storage::snapshot(&[
            select(&format!("SELECT COUNT(room_id) AS n FROM rooms_v1_public{condition}"), values),
            select(
                &format!(
                    "SELECT room_id, joined FROM rooms_v1_public{condition}
                     ORDER BY joined DESC, room_id LIMIT ${take} OFFSET ${skip}"
                ),
                paged,
            ),
        ])?
        .answers();
        let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
        let total = next()?.first::<(i64,)>()?.map_or(0, |(n,)| n);
        let some = next()?.all::<(String, i64)>()?;
        let total = usize::try_from(total).unwrap_or_default();
        Ok(Page { total, rows: some.len(), chunk: described(some)? })
    }
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
