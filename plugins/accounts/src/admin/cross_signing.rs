//! Cross-signing keys that may be replaced without the password.

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{Batch, query};
use tessera_sdk::{clock, params};

/// How long the permission lasts.
const LIFETIME_MS: u64 = 10 * 60 * 1000;
/// How long it lasts once it was used: what failed for another reason, or whose answer got lost, can be tried again.
const GRACE_MS: u64 = 60_000;

/// Permits it; until when, in milliseconds since the Unix epoch.
///
/// # Errors
/// Storage.
pub fn permit(user: &str) -> Result<u64, Error> {
    let until = clock::now_ms() + LIFETIME_MS;
    let sql = "UPDATE accounts_users SET cross_signing_until_ms = $2 WHERE user_id = $1";
    Batch::new().run(sql, params![user, until]).commit_blind()?;
    Ok(until)
}

/// Whether it is permitted now; a minute later it is not any more.
///
/// # Errors
/// Storage.
pub fn spent(user: &str) -> Result<bool, Error> {
    let sql = "SELECT cross_signing_until_ms FROM accounts_users WHERE user_id = $1";
    let until = query(sql, params![user])?.first::<(u64,)>()?.map_or(0, |(until,)| until);
    let now = clock::now_ms();
    if until <= now {
        return Ok(false);
    }
    let last = now + GRACE_MS;
    if until > last {
        let sql = "UPDATE accounts_users SET cross_signing_until_ms = $2 \
                   WHERE user_id = $1 AND cross_signing_until_ms > $2";
        Batch::new().run(sql, params![user, last]).commit_blind()?;
    }
    Ok(true)
}
