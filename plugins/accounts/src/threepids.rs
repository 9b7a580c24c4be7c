//! Addresses of users: e-mail. Phone numbers belong to nobody here.

use tessera_sdk::hooks::{self, Threepid};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{Batch, query};
use tessera_sdk::{clock, params};

use crate::topics;

/// Addresses of one user.
pub const MAX_ADDRESSES: i64 = 50;
/// Bytes of an address.
const MAX_BYTES: usize = 500;

/// The one medium that can be proved here.
pub const EMAIL: &str = "email";

/// An e-mail address as it is stored and compared: in small letters, since nobody tells two people apart by them.
///
/// # Errors
/// `M_INVALID_PARAM`.
pub fn canonical_email(address: &str) -> Result<String, Error> {
    let wrong = || Error::invalid_param("this is no e-mail address");
    let address = address.trim();
    let (name, host) = address.rsplit_once('@').ok_or_else(wrong)?;
    let bad = |c: char| c.is_whitespace() || c.is_control() || "<>()[],;:\\\"@".contains(c);
    let dotted = host.split('.').all(|label| !label.is_empty());
    if name.is_empty()
        || !dotted
        || address.len() > MAX_BYTES
        || name.chars().chain(host.chars()).any(bad)
    {
        return Err(wrong());
    }
    Ok(address.to_lowercase())
}

/// An address as it is compared, whatever its medium.
pub fn canonical(medium: &str, address: &str) -> String {
    match medium {
        "msisdn" => address.chars().filter(char::is_ascii_digit).collect(),
        _ => address.trim().to_lowercase(),
    }
}

/// 400 `M_THREEPID_IN_USE`.
pub fn in_use() -> Error {
    Error::with_status(400, "M_THREEPID_IN_USE", "this address belongs to an account already")
}

/// 400 `M_THREEPID_MEDIUM_NOT_SUPPORTED`.
pub fn not_supported(what: &str) -> Error {
    Error::with_status(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", what)
}

/// Whose address it is.
///
/// # Errors
/// Storage.
pub fn owner(medium: &str, address: &str) -> Result<Option<String>, Error> {
    let sql = "SELECT user_id FROM accounts_threepids WHERE medium = $1 AND address = $2";
    let found: Option<(String,)> = query(sql, params![medium, address])?.first()?;
    Ok(found.map(|(user,)| user))
}

/// An address of a user: medium, address, when it was proved, when it was added.
pub type Entry = (String, String, u64, u64);

/// The addresses of a user, the oldest first.
///
/// # Errors
/// Storage.
pub fn list(user: &str) -> Result<Vec<Entry>, Error> {
    let sql = "SELECT medium, address, validated_ms, added_ms FROM accounts_threepids \
               WHERE user_id = $1 ORDER BY added_ms, address";
    Ok(query(sql, params![user])?.all()?)
}

/// Asks modules whether an address may be used.
///
/// # Errors
/// A module's refusal.
pub fn allowed(medium: &str, address: &str, registering: bool) -> Result<(), Error> {
    if !hooks::answered("tessera:hooks/account-rules") {
        return Ok(());
    }
    let threepid = Threepid { medium: medium.to_owned(), address: address.to_owned() };
    Ok(hooks::threepid_allowed(&threepid, registering)?)
}

/// Adds an address to a user's in a batch. The statement conflicts if it is somebody's.
pub fn add(batch: Batch, user: &str, medium: &str, address: &str, validated_ms: u64) -> Batch {
    batch
        .run(
            "INSERT INTO accounts_threepids (medium, address, user_id, validated_ms, added_ms) \
             VALUES ($1, $2, $3, $4, $5)",
            params![medium, address, user, validated_ms, clock::now_ms()],
        )
        .emit(topics::THREEPIDS, user, topics::threepid(user, "added", medium, address))
}

/// Takes an address away in a batch.
pub fn remove(batch: Batch, user: &str, medium: &str, address: &str) -> Batch {
    batch
        .run(
            "DELETE FROM accounts_threepids WHERE medium = $1 AND address = $2 AND user_id = $3",
            params![medium, address, user],
        )
        .emit(topics::THREEPIDS, user, topics::threepid(user, "removed", medium, address))
}

#[cfg(test)]
mod tests {
    use super::canonical_email;

    #[test]
    fn addresses_are_compared_in_small_letters() {
        assert_eq!(canonical_email(" Ann@Example.ORG ").unwrap(), "ann@example.org");
        assert_eq!(canonical_email("a+b@localhost").unwrap(), "a+b@localhost");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.org", "a".repeat(500));
        for address in
            ["", "ann", "@example.org", "ann@", "a b@c", "a@b@c", "a@b..c", "a\r\n@b", &long]
        {
            assert!(canonical_email(address).is_err(), "{address:?}");
        }
    }
}
