//! Who administers this server, and what they may say of users.

pub mod change;
pub mod cross_signing;
pub mod list;
pub mod notices;
pub mod redactions;
pub mod user;

use tessera_sdk::crypto;
use tessera_sdk::http::Request;
use tessera_sdk::matrix::{Error, is_user_id, server_name};
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, query};

use crate::{session, topics};

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

/// Whom a path names: a user of this server who has or had an account. Who may not ask learns nothing of who there is.
///
/// # Errors
/// `M_FORBIDDEN`, `M_INVALID_PARAM`, `M_NOT_FOUND`.
pub fn target(request: &Request) -> Result<&str, Error> {
    only(request)?;
    let user = local(request.param("userId"))?;
    let sql = "SELECT user_id FROM accounts_users WHERE user_id = $1";
    match query(sql, params![user])?.first::<(String,)>()? {
        Some(_) => Ok(user),
        None => Err(Error::not_found("no such user")),
    }
}

/// What an administrator can turn on and off for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Locked out.
    Locked,
    /// Suspended.
    Suspended,
    /// An administrator.
    Admin,
    /// Shown to nobody but themselves.
    ShadowBanned,
}

impl Flag {
    /// Its column, which is its name in the paths of the specification, too.
    pub const fn column(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Suspended => "suspended",
            Self::Admin => "admin",
            Self::ShadowBanned => "shadow_banned",
        }
    }
}

/// Turns a flag of a user on or off. Who is no administrator any more acts for nobody else.
///
/// # Errors
/// Storage.
pub fn set(user: &str, flag: Flag, value: bool) -> Result<(), Error> {
    let sql = format!("UPDATE accounts_users SET {} = $2 WHERE user_id = $1", flag.column());
    let mut batch = Batch::new().run(&sql, params![user, value]);
    if (flag, value) == (Flag::Admin, false) {
        batch = session::end_all_acting(batch, user);
    }
    // The waking makes every node ask again, and ends what waits.
    batch.wake(topics::sessions(user)).commit_blind()?;
    Ok(())
}
