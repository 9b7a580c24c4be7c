//! `GET /_matrix/client/v3/user/{userId}/filter/{filterId}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::query;

use crate::ids;

/// One of the user's own filters. `M_FORBIDDEN`, 404 `M_NOT_FOUND`.
pub fn handle(request: &Request) -> Result {
    let user = request.user()?;
    ids::own(user, request.param("userId"))?;
    Ok(Answer::raw_json(200, get(user, request.param("filterId"))?.into_bytes()))
}

/// A user's filter as JSON.
///
/// # Errors
/// `M_NOT_FOUND`.
pub fn get(user: &str, id: &str) -> std::result::Result<String, Error> {
    let row: Option<(String,)> = query(
        "SELECT json FROM accounts_filters WHERE user_id = $1 AND filter_id = $2",
        params![user, id],
    )?
    .first()?;
    row.map(|(json,)| json).ok_or_else(|| Error::not_found("no such filter"))
}
