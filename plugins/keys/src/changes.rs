//! GET /_matrix/client/v3/keys/changes
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges>

use std::collections::BTreeSet;

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{query, select, snapshot};

/// Users told of at once; who misses more asks for keys anew.
const MAX_USERS: i64 = 20_000;
/// Users of one SELECT.
const CHUNK: usize = 1000;

/// A token of /sync: `s` and a position, whatever follows it after `_`.
fn position(request: &Request, name: &str) -> std::result::Result<u64, Error> {
    let token = request
        .query(name)
        .ok_or_else(|| Error::missing_param(format!("query parameter {name} is missing")))?;
    token
        .strip_prefix('s')
        .and_then(|rest| rest.split('_').next())
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| Error::invalid_param(format!("{name} is no token of this server's")))
}

/// `to` is only checked: what changed after it is told, too.
///
/// # Errors
/// `M_MISSING_PARAM`, `M_INVALID_PARAM`.
pub(crate) fn handle(request: &Request) -> Result {
    let user = request.user()?;
    let from = position(request, "from")?;
    position(request, "to")?;
    let mut answers = snapshot(&[
        select(
            "SELECT l.user_id FROM keys_device_lists AS l WHERE l.position > $2 AND (l.user_id = $1 \
             OR EXISTS (SELECT 1 FROM rooms_v1_memberships AS m JOIN rooms_v1_memberships AS o \
             ON o.room_id = m.room_id WHERE m.user_id = $1 AND m.membership = 'join' \
             AND o.user_id = l.user_id AND o.membership = 'join')) \
             UNION SELECT user_id FROM keys_private_changes WHERE viewer = $1 AND position > $2 LIMIT $3",
            params![user, from, MAX_USERS],
        ),
        // Who came into rooms or left them, with the one who asks.
        select(
            "SELECT c.user_id, c.membership FROM rooms_v1_memberships AS m \
             JOIN rooms_v1_membership_changes AS c ON c.room_id = m.room_id \
             WHERE m.user_id = $1 AND m.membership = 'join' AND c.position > $2 \
             AND (c.membership = 'join' OR c.prev_membership = 'join') LIMIT $3",
            params![user, from, MAX_USERS],
        ),
        // Who is in rooms that the one who asks came into or left.
        select(
            "SELECT DISTINCT o.user_id FROM rooms_v1_membership_changes AS c \
             JOIN rooms_v1_memberships AS o ON o.room_id = c.room_id \
             WHERE c.user_id = $1 AND c.position > $2 AND o.membership = 'join' \
             AND (c.membership = 'join' OR c.prev_membership = 'join') \
             AND (c.membership <> c.prev_membership) LIMIT $3",
            params![user, from, MAX_USERS],
        ),
        // Who left such rooms since.
        select(
            "SELECT DISTINCT o.user_id FROM rooms_v1_membership_changes AS c \
             JOIN rooms_v1_membership_changes AS o ON o.room_id = c.room_id \
             WHERE c.user_id = $1 AND c.position > $2 AND c.prev_membership = 'join' \
             AND c.membership <> 'join' AND o.position > $2 AND o.prev_membership = 'join' \
             AND o.membership <> 'join' LIMIT $3",
            params![user, from, MAX_USERS],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let mut changed: BTreeSet<String> =
        next()?.all::<(String,)>()?.into_iter().map(|(user,)| user).collect();
    let mut met: BTreeSet<String> =
        next()?.all::<(String, String)>()?.into_iter().map(|(user, _)| user).collect();
    for _ in 0..2 {
        met.extend(next()?.all::<(String,)>()?.into_iter().map(|(user,)| user));
    }
    met.remove(user);
    let met: Vec<String> = met.into_iter().collect();
    let mut left = BTreeSet::new();
    for users in met.chunks(CHUNK) {
        let shared = sharing(user, users)?;
        for other in users {
            if shared.contains(other) {
                changed.insert(other.clone());
            } else {
                left.insert(other.clone());
            }
        }
    }
    changed.retain(|user| !left.contains(user));
    Answer::json(&json!({ "changed": changed, "left": left }))
}

/// Which of these share a room with the user.
fn sharing(user: &str, others: &[String]) -> std::result::Result<BTreeSet<String>, Error> {
    let rows: Vec<(String,)> = query(
        "SELECT DISTINCT o.user_id FROM rooms_v1_memberships AS o JOIN rooms_v1_memberships AS m \
         ON m.room_id = o.room_id WHERE o.user_id IN ($2) AND o.membership = 'join' \
         AND m.user_id = $1 AND m.membership = 'join'",
        params![user, others],
    )?
    .all()?;
    Ok(rows.into_iter().map(|(user,)| user).collect())
}
