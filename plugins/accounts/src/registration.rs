//! Accounts that are made: the names that are free, the cap on them, the commit.

use serde_json::json;
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch, Committed, query};
use tessera_sdk::{clock, limits, params};

use crate::{config, ids, topics};

/// Checks that a localpart may be registered; the full id.
///
/// # Errors
/// `M_INVALID_USERNAME`, `M_USER_IN_USE`.
pub fn free(localpart: &str) -> Result<String, Error> {
    let user = ids::check_new_localpart(localpart)?;
    // Whoever had this name would speak for the server.
    if config::get()?.server_notices.is_some_and(|notices| notices.localpart == localpart) {
        return Err(in_use());
    }
    let sql = "SELECT user_id FROM accounts_users WHERE user_id = $1";
    match query(sql, params![&user])?.first::<(String,)>()? {
        Some(_) => Err(in_use()),
        None => Ok(user),
    }
}

fn in_use() -> Error {
    Error::new(ErrorCode::UserInUse, "this user name is taken")
}

/// How often a registration is tried that met another in the database.
const TRIES: usize = 5;

/// An account to be made.
#[derive(Debug, Clone, Default)]
pub struct NewAccount {
    /// Full id.
    pub user: String,
    /// Hash of the password; none: no password fits.
    pub password_hash: Option<String>,
    /// Shown to others.
    pub displayname: Option<String>,
    /// An administrator of this server.
    pub admin: bool,
    /// See `tessera:hooks/account-policy`.
    pub shadow_banned: bool,
    /// Without an account of their own; see the specification, Guest access.
    pub guest: bool,
    /// Made by somebody else than the user.
    pub by_admin: bool,
}

/// Adds a new user to an empty batch, and counts it: two statements. Deactivated users keep their names.
pub fn create(batch: Batch, account: &NewAccount) -> Batch {
    let user = account.user.as_str();
    let message = json!({ "user_id": user, "change": "registered", "by_admin": account.by_admin });
    let batch = batch
        .run(
            "INSERT INTO accounts_users (user_id, password_hash, created_ms, deactivated, guest, admin, \
             displayname, avatar_url, revision, shadow_banned) \
             VALUES ($1, $2, $3, FALSE, $7, $4, $5, NULL, 0, $6)",
            params![
                user,
                account.password_hash.as_deref(),
                clock::now_ms(),
                account.admin,
                account.displayname.as_deref(),
                account.shadow_banned,
                account.guest
            ],
        )
        .emit(topics::USERS, user, message.to_string());
    count(batch)
}

/// Counts one more user: one statement, which conflicts if there may be no more.
pub fn count(batch: Batch) -> Batch {
    // The guard of the cap: whoever registers at the same moment waits here.
    batch
        .run(
            "UPDATE accounts_counts SET users = users + 1 WHERE id = 1 AND users < $1",
            params![cap()],
        )
        .expect(1)
}

/// How many users there may be.
fn cap() -> i64 {
    limits::cap("users").map_or(i64::MAX, |n| i64::try_from(n).unwrap_or(i64::MAX))
}

/// Checks that there may be one more user.
///
/// # Errors
/// `M_RESOURCE_LIMIT_EXCEEDED`.
pub fn room_for_one() -> Result<(), Error> {
    let cap = cap();
    if cap == i64::MAX {
        return Ok(());
    }
    let users: Option<(i64,)> =
        query("SELECT users FROM accounts_counts WHERE id = 1", params![])?.first()?;
    if users.is_some_and(|(users,)| users < cap) {
        return Ok(());
    }
    let text = "this server has as many users as it may have";
    Err(Error::new(ErrorCode::ResourceLimitExceeded, text))
}

/// Commits a batch that begins with [`create`]. `told`: the error where a further guard of the caller's, by the index of its statement
/// in the batch, does not hold; none: to be tried again.
///
/// # Errors
/// `M_USER_IN_USE` if somebody was quicker, `M_RESOURCE_LIMIT_EXCEEDED` if there may be no more users, what `told` says.
pub fn commit(batch: Batch, told: impl Fn(u32) -> Option<Error>) -> Result<Committed, Error> {
    for _ in 0..TRIES {
        match batch.clone().commit() {
            Ok(committed) => return Ok(committed),
            Err(storage::Error::Conflict(0)) => return Err(in_use()),
            Err(storage::Error::Conflict(1)) => room_for_one()?,
            Err(storage::Error::Conflict(at)) => {
                if let Some(error) = told(at) {
                    return Err(error);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(storage::Error::Busy.into())
}
