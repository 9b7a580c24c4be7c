//! Who administers this server.

use tessera_sdk::crypto;
use tessera_sdk::http::Request;
use tessera_sdk::matrix::{Error, is_user_id, server_name};
use tessera_sdk::params;
use tessera_sdk::storage::query;

/// Lets only administrators through.
///
/// # Errors
/// `M_FORBIDDEN`.
pub fn only(request: &Request) -> Result<(), Error> {
    if is_admin(request)? {
        return Ok(());
    }
    Err(Error::forbidden("only an administrator of this server may do this"))
}

/// Whether an administrator asks.
///
/// # Errors
/// `M_MISSING_TOKEN`.
pub fn is_admin(request: &Request) -> Result<bool, Error> {
    Ok(request.principal()?.marks.iter().any(|mark| mark == "admin"))
}

/// Checks that a path names a user of this server.
///
/// # Errors
/// `M_INVALID_PARAM`.
pub fn local(user: &str) -> Result<&str, Error> {
    if !is_user_id(user) || server_name(user) != crypto::tenant_name() {
        return Err(Error::invalid_param("not a user of this server"));
    }
    Ok(user)
}

/// What administrators restrict.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// See the specification, Account locking.
    pub locked: bool,
    /// See the specification, Account suspension.
    pub suspended: bool,
    /// An administrator.
    pub admin: bool,
}

/// How an account stands. `None`: there is none, or no more.
///
/// # Errors
/// Storage.
pub fn standing(user: &str) -> Result<Option<Standing>, Error> {
    let sql = "SELECT locked, suspended, admin FROM accounts_users \
               WHERE user_id = $1 AND deactivated = FALSE";
    let found: Option<(bool, bool, bool)> = query(sql, params![user])?.first()?;
    Ok(found.map(|(locked, suspended, admin)| Standing { locked, suspended, admin }))
}
