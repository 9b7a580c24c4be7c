//! Tokens that let people register, made by administrators.
//!
//! Spec: client-server API, Token-authenticated registration.

use std::collections::HashMap;

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{Batch, query};
use tessera_sdk::{clock, params};

/// Tokens of one SELECT.
const CHUNK: usize = 500;

/// Whether a token may be used now. `session`: one (by its key) that means to use it already does not count against it.
///
/// # Errors
/// Storage.
pub fn is_good(token: &str, session: &str) -> Result<bool, Error> {
    let found: Option<(Option<i64>, i64)> = query(
        "SELECT uses_allowed, completed FROM accounts_registration_tokens \
         WHERE token = $1 AND (expires_ms IS NULL OR expires_ms > $2)",
        params![token, clock::now_ms()],
    )?
    .first()?;
    match found {
        None => Ok(false),
        Some((None, _)) => Ok(true),
        Some((Some(allowed), completed)) => Ok(completed + pending(token, session)? < allowed),
    }
}

/// Open sessions that mean to use a token, `except` one (by its key).
///
/// # Errors
/// Storage.
pub fn pending(token: &str, except: &str) -> Result<i64, Error> {
    let since = clock::now_ms().saturating_sub(crate::uia::LIFETIME_MS);
    let found: Option<(i64,)> = query(
        "SELECT COUNT(*) FROM accounts_uia WHERE token = $1 AND token <> '' AND session <> $2 AND made = '' \
         AND created_ms >= $3",
        params![token, except, since],
    )?
    .first()?;
    Ok(found.map_or(0, |(count,)| count))
}

/// As [`pending`] for these tokens at once; of those that are missing there are none.
///
/// # Errors
/// Storage.
pub fn pending_of(tokens: &[String]) -> Result<HashMap<String, i64>, Error> {
    let since = clock::now_ms().saturating_sub(crate::uia::LIFETIME_MS);
    let mut pending = HashMap::new();
    for tokens in tokens.chunks(CHUNK) {
        let found: Vec<(String, i64)> = query(
            "SELECT token, COUNT(*) AS n FROM accounts_uia WHERE token IN ($1) AND token <> '' AND made = '' \
             AND created_ms >= $2 GROUP BY token",
            params![tokens, since],
        )?
        .all()?;
        pending.extend(found);
    }
    Ok(pending)
}

/// Uses a token in a batch. The statement conflicts if it is used up or over.
pub fn spend(batch: Batch, token: &str) -> Batch {
    batch
        .run(
            "UPDATE accounts_registration_tokens SET completed = completed + 1 WHERE token = $1 \
             AND (expires_ms IS NULL OR expires_ms > $2) AND (uses_allowed IS NULL OR completed < uses_allowed)",
            params![token, clock::now_ms()],
        )
        .expect(1)
}
