//! Cross-signing keys that may be replaced once without the password.

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::Batch;
use tessera_sdk::{clock, params};

/// How long the permission lasts.
const LIFETIME_MS: u64 = 10 * 60 * 1000;

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

/// Whether it is permitted now; it is not any more then.
///
/// # Errors
/// Storage.
pub fn spend(user: &str) -> Result<bool, Error> {
    let sql = "UPDATE accounts_users SET cross_signing_until_ms = 0 \
               WHERE user_id = $1 AND cross_signing_until_ms > $2";
    let spent = Batch::new().run(sql, params![user, clock::now_ms()]).commit_blind()?;
    Ok(spent.affected.first() == Some(&1))
}
