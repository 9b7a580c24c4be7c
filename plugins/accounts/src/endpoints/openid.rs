//! `POST /_matrix/client/v3/user/{userId}/openid/request_token`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::storage::Batch;
use tessera_sdk::{clock, crypto, digest, params, random};

use crate::ids;

/// How long a third party may ask whose token it is.
const LIFETIME_MS: u64 = 3_600_000;
/// Tokens of one user; the oldest go first.
const MAX_TOKENS: i64 = 100;

/// A token that tells a third party who the user is, and gives no access. `M_FORBIDDEN`.
pub fn handle(request: &Request) -> Result {
    let user = request.user()?;
    ids::own(user, request.param("userId"))?;
    let (token, now) = (random::token(), clock::now_ms());
    Batch::new()
        .run("DELETE FROM accounts_openid WHERE expires_ms < $1", params![now])
        .run(
            "INSERT INTO accounts_openid (hash, user_id, expires_ms) VALUES ($1, $2, $3)",
            params![digest::sha256(token.as_bytes()), user, now + LIFETIME_MS],
        )
        .run(
            "DELETE FROM accounts_openid WHERE hash IN (SELECT o.hash FROM accounts_openid AS o              WHERE o.user_id = $1 ORDER BY o.expires_ms DESC LIMIT 1000 OFFSET $2)",
            params![user, MAX_TOKENS],
        )
        .commit_blind()?;
    Answer::json(&json!({
        "access_token": token,
        "token_type": "Bearer",
        "matrix_server_name": crypto::tenant_name(),
        "expires_in": LIFETIME_MS / 1000,
    }))
}
