//! `GET /_matrix/federation/v1/openid/userinfo`
//!
//! https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::query;
use tessera_sdk::{clock, digest, params};

/// Whose token it is. Identity servers and widgets ask. 401 `M_MISSING_TOKEN`, `M_UNKNOWN_TOKEN`.
pub fn handle(request: &Request) -> Result {
    let token = request.query("access_token").ok_or_else(Error::missing_token)?;
    let found: Option<(String,)> = query(
        "SELECT user_id FROM accounts_openid WHERE hash = $1 AND expires_ms > $2",
        params![digest::sha256(token.as_bytes()), clock::now_ms()],
    )?
    .first()?;
    match found {
        Some((user,)) => Answer::json(&json!({ "sub": user })),
        None => Err(Error::new(ErrorCode::UnknownToken, "this token is unknown or expired")),
    }
}
