//! Who is meant, and whether the password is theirs.

use std::cell::OnceCell;

use serde::Deserialize;
use tessera_sdk::hooks::Threepid;
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::query;
use tessera_sdk::{crypto, digest, limits, params, random};

use crate::ids;

/// Longest password, in bytes: hashing cost grows with it.
const MAX_BYTES: usize = 512;

/// `identifier` of login and of the password stage.
/// Spec: client-server API, Identifier types.
#[derive(Debug, Clone, Deserialize)]
pub struct Identifier {
    #[serde(rename = "type")]
    kind: String,
    user: Option<String>,
    medium: Option<String>,
    address: Option<String>,
}

impl Identifier {
    /// The third-party identifier, if that is how somebody is meant; canonical.
    pub fn threepid(&self) -> Option<Threepid> {
        if self.kind != "m.id.thirdparty" {
            return None;
        }
        let (medium, address) = (self.medium.clone()?, self.address.as_deref()?);
        let address = match medium.as_str() {
            "msisdn" => address.chars().filter(char::is_ascii_digit).collect(),
            _ => address.to_lowercase(),
        };
        Some(Threepid { medium, address })
    }
}

/// The local user that is meant. `None`: nobody was named, or nobody here.
pub fn named(identifier: Option<&Identifier>, legacy: Option<&str>) -> Option<String> {
    let user = match identifier {
        Some(identifier) if identifier.kind == "m.id.user" => identifier.user.as_deref(),
        Some(_) => None,
        None => legacy,
    };
    user.and_then(ids::user_at_login)
}

/// Checks a password that somebody wants to have.
///
/// # Errors
/// `M_WEAK_PASSWORD` if it is empty, `M_INVALID_PARAM` if it is too long.
pub fn check_new(password: &str) -> Result<(), Error> {
    if password.is_empty() {
        return Err(Error::new(ErrorCode::WeakPassword, "the password is empty"));
    }
    if password.len() > MAX_BYTES {
        return Err(Error::invalid_param(format!("a password has at most {MAX_BYTES} bytes")));
    }
    Ok(())
}

/// A user whose password was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Guard for commits that rest on it: changes with the password.
    pub revision: i64,
    /// The account is no more.
    pub deactivated: bool,
}

thread_local! {
    /// A hash of nobody's password, so that an unknown user takes as long as a known one.
    static NOBODY: OnceCell<String> = const { OnceCell::new() };
}

/// Counts a try against a user's bucket, right or wrong: a guess must not be free because it was right.
///
/// # Errors
/// 429 if there were too many.
pub fn count_try(user: &str) -> Result<(), Error> {
    limits::take("failed-logins", user, 1).map_err(Error::limit_exceeded)
}

/// The same where somebody is meant by a third-party identifier: whoever tries, and from wherever.
///
/// # Errors
/// As [`count_try`].
pub fn count_try_by(threepid: &Threepid) -> Result<(), Error> {
    // A digest, so that the key is short and no user's or address's, whatever is given.
    let key = format!("{}:{}", threepid.medium, threepid.address);
    count_try(&format!("threepid:{}", digest::sha256(key.as_bytes())))
}

/// Whether the password is the user's. Unknown users, users without password and wrong passwords give `None` and
/// take equally long. [`count_try`] comes before.
///
/// # Errors
/// Storage.
pub fn verify(user: &str, password: &str) -> Result<Option<Verified>, Error> {
    let row: Option<(Option<String>, i64, bool)> = query(
        "SELECT password_hash, revision, deactivated FROM accounts_users WHERE user_id = $1",
        params![user],
    )?
    .first()?;
    let nobody = NOBODY
        .with(|nobody| nobody.get_or_init(|| crypto::hash_password(&random::token())).clone());
    let password = if password.len() > MAX_BYTES { "" } else { password };
    match row {
        Some((_, revision, true)) => {
            crypto::verify_password(password, &nobody);
            // Whether the password was right is not known any more.
            Ok(Some(Verified { revision, deactivated: true }))
        }
        Some((Some(hash), revision, false)) => {
            let right = crypto::verify_password(password, &hash);
            Ok(right.then_some(Verified { revision, deactivated: false }))
        }
        _ => {
            crypto::verify_password(password, &nobody);
            Ok(None)
        }
    }
}
