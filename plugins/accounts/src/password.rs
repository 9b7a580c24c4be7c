//! Who is meant, and whether the password is theirs.

use std::cell::OnceCell;

use serde::Deserialize;
use tessera_sdk::hooks::Threepid;
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{Batch, query};
use tessera_sdk::{crypto, digest, limits, params, random};

use crate::{config, ids, threepids};

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
    /// Of a phone: two capital letters and a number as people of that country write it.
    country: Option<String>,
    phone: Option<String>,
    number: Option<String>,
}

impl Identifier {
    /// The identifier in an old request, which had its parts in the body.
    pub fn of_address(medium: &str, address: &str) -> Self {
        Self {
            kind: THIRD_PARTY.to_owned(),
            user: None,
            medium: Some(medium.to_owned()),
            address: Some(address.to_owned()),
            country: None,
            phone: None,
            number: None,
        }
    }

    /// The third-party identifier, if that is how somebody is meant; canonical.
    pub fn threepid(&self) -> Option<Threepid> {
        let (medium, address) = match self.kind.as_str() {
            THIRD_PARTY => (self.medium.clone()?, self.address.as_deref()?),
            // Without the country's code nobody is meant: modules that know phones are told the digits.
            "m.id.phone" => {
                self.country.as_deref()?;
                ("msisdn".to_owned(), self.phone.as_deref().or(self.number.as_deref())?)
            }
            _ => return None,
        };
        let address = threepids::canonical(&medium, address);
        Some(Threepid { medium, address })
    }

    /// Whether it is of a kind that the specification has.
    pub fn is_known(&self) -> bool {
        matches!(self.kind.as_str(), "m.id.user" | THIRD_PARTY | "m.id.phone")
    }
}

const THIRD_PARTY: &str = "m.id.thirdparty";

/// The local user that is meant. `None`: nobody was named, or nobody here.
///
/// # Errors
/// Storage.
pub fn named(
    identifier: Option<&Identifier>,
    legacy: Option<&str>,
) -> Result<Option<String>, Error> {
    let user = match identifier {
        Some(identifier) if identifier.kind == "m.id.user" => identifier.user.as_deref(),
        Some(identifier) => {
            let threepid = identifier.threepid();
            return match threepid {
                Some(threepid) => threepids::owner(&threepid.medium, &threepid.address),
                None => Ok(None),
            };
        }
        None => legacy,
    };
    Ok(user.and_then(ids::user_at_login))
}

/// Checks a password that somebody wants to have.
///
/// # Errors
/// `M_WEAK_PASSWORD` if it is empty or shorter than the operator wants, `M_INVALID_PARAM` if it is too long.
pub fn check_new(password: &str) -> Result<(), Error> {
    if password.is_empty() {
        return Err(Error::new(ErrorCode::WeakPassword, "the password is empty"));
    }
    let least = config::get()?.password_length;
    if password.chars().count() < least {
        let text = format!("a password has at least {least} characters");
        return Err(Error::new(ErrorCode::WeakPassword, text));
    }
    if password.len() > MAX_BYTES {
        return Err(Error::invalid_param(format!("a password has at most {MAX_BYTES} bytes")));
    }
    Ok(())
}

/// A batch that gives a user a new password. Its statement conflicts if there is no such user.
pub fn replace(user: &str, password: &str) -> Batch {
    Batch::new()
        .run(
            "UPDATE accounts_users SET password_hash = $1, revision = revision + 1 \
             WHERE user_id = $2 AND deactivated = FALSE",
            params![crypto::hash_password(password), user],
        )
        .expect(1)
}

/// The revision of an account that is there and not deactivated, locked or not.
///
/// # Errors
/// Storage.
pub fn revision(user: &str) -> Result<Option<i64>, Error> {
    let sql = "SELECT revision FROM accounts_users WHERE user_id = $1 AND deactivated = FALSE";
    Ok(query(sql, params![user])?.first::<(i64,)>()?.map(|(revision,)| revision))
}

/// A user whose password was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Guard for commits that rest on it: changes with the password.
    pub revision: i64,
    /// The account is no more.
    pub deactivated: bool,
    /// An administrator has locked it.
    pub locked: bool,
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
    let row: Option<(Option<String>, i64, bool, bool)> = query(
        "SELECT password_hash, revision, deactivated, locked FROM accounts_users WHERE user_id = $1",
        params![user],
    )?
    .first()?;
    let nobody = NOBODY
        .with(|nobody| nobody.get_or_init(|| crypto::hash_password(&random::token())).clone());
    let password = if password.len() > MAX_BYTES { "" } else { password };
    match row {
        Some((_, revision, true, locked)) => {
            crypto::verify_password(password, &nobody);
            // Whether the password was right is not known any more.
            Ok(Some(Verified { revision, deactivated: true, locked }))
        }
        Some((Some(hash), revision, false, locked)) => {
            let right = crypto::verify_password(password, &hash);
            Ok(right.then_some(Verified { revision, deactivated: false, locked }))
        }
        _ => {
            crypto::verify_password(password, &nobody);
            Ok(None)
        }
    }
}
