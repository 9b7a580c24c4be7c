//! GET /mutual_rooms.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms>
//!
//! Errors: `M_MISSING_PARAM`, `M_INVALID_PARAM` (no user id, one's own, or a token that is none).

use serde::Serialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, is_user_id};
use tessera_sdk::params;
use tessera_sdk::storage::{self, select};

/// A page holds this many.
const PAGE: usize = 100;

#[derive(Serialize)]
struct Response {
    joined: Vec<String>,
    count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

const SHARED: &str =
    "FROM rooms_v1_memberships a JOIN rooms_v1_memberships b ON b.room_id = a.room_id
     WHERE a.user_id = $1 AND a.membership = 'join' AND b.user_id = $2 AND b.membership = 'join'";

/// Lists the rooms that both are in, by their ids.
pub(super) fn handle(request: &Request) -> Result {
    let user = request.user()?;
    let other = request.query("user_id");
    let other = other.ok_or_else(|| Error::missing_param("user_id is missing"))?;
    if !is_user_id(other) {
        return Err(Error::invalid_param("user_id is no user id"));
    }
    if other == user {
        return Err(Error::invalid_param("user_id is the user's own"));
    }
    let after = match request.query("from") {
        None => "",
        Some(token) => token
            .strip_prefix('m')
            .filter(|room| room.starts_with('!') && !room.contains('\0'))
            .ok_or_else(|| Error::invalid_param("from is no token of this server"))?,
    };
    let mut answers = storage::snapshot(&[
        select(&format!("SELECT COUNT(a.room_id) AS n {SHARED}"), params![user, other]),
        select(
            &format!(
                "SELECT a.room_id AS room_id {SHARED} AND a.room_id > $3 ORDER BY room_id LIMIT $4"
            ),
            params![user, other, after, i64::try_from(PAGE + 1).map_err(Error::internal)?],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let count = next()?.first::<(i64,)>()?.map_or(0, |(n,)| n);
    let mut joined: Vec<String> =
        next()?.all::<(String,)>()?.into_iter().map(|(room,)| room).collect();
    let more = joined.len() > PAGE;
    joined.truncate(PAGE);
    let next_batch = joined.last().filter(|_| more).map(|room| format!("m{room}"));
    Answer::json(&Response { joined, count, next_batch })
}
