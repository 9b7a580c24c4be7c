//! Tokens for `m.login.token`: one log-in each, for whoever is handed one.
//!
//! Spec: client-server API, Token-based login.

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{Batch, query};
use tessera_sdk::{clock, digest, params, random};

/// Longest life, in milliseconds.
const MAX_MS: u64 = 600_000;
/// Tokens of one user that are good at once; the newest stay.
const MAX_TOKENS: i64 = 100;

/// Makes a token for a user who is there.
///
/// # Errors
/// Storage.
pub fn issue(user: &str, lifetime_ms: u64) -> Result<String, Error> {
    let (token, now) = (random::token(), clock::now_ms());
    Batch::new()
        .run("DELETE FROM accounts_login_tokens WHERE expires_ms <= $1", params![now])
        .run(
            "DELETE FROM accounts_login_tokens WHERE hash IN (SELECT t.hash FROM accounts_login_tokens AS t \
             WHERE t.user_id = $1 ORDER BY t.expires_ms DESC LIMIT 1000 OFFSET $2)",
            params![user, MAX_TOKENS - 1],
        )
        .run(
            "INSERT INTO accounts_login_tokens (hash, user_id, expires_ms) VALUES ($1, $2, $3)",
            params![digest::sha256(token.as_bytes()), user, now + lifetime_ms.min(MAX_MS)],
        )
        .commit_blind()?;
    Ok(token)
}

/// Whose token it is, and its hash, if it is good now.
///
/// # Errors
/// Storage.
pub fn look_up(token: &str) -> Result<Option<(String, String)>, Error> {
    let hash = digest::sha256(token.as_bytes());
    let found: Option<(String,)> = query(
        "SELECT user_id FROM accounts_login_tokens WHERE hash = $1 AND expires_ms > $2",
        params![&hash, clock::now_ms()],
    )?
    .first()?;
    Ok(found.map(|(user,)| (user, hash)))
}

/// Adds the end of a token to a batch: it is good once. The statement conflicts if another was quicker.
pub fn spend(batch: Batch, hash: &str) -> Batch {
    batch.run("DELETE FROM accounts_login_tokens WHERE hash = $1", params![hash]).expect(1)
}
