//! The keys of users.
//!
//! Spec: client-server API, Cross-signing.

use serde_json::{Map, Value};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{Rows, Select, query, select};

use crate::signed;

/// What a key is for.
pub(crate) const MASTER: &str = "master";
/// Signs the user's devices.
pub(crate) const SELF_SIGNING: &str = "self_signing";
/// Signs the master keys of others.
pub(crate) const USER_SIGNING: &str = "user_signing";

/// One key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// One of the above.
    pub(crate) usage: String,
    /// Base64.
    pub(crate) public: String,
    /// As uploaded.
    pub(crate) map: Map<String, Value>,
}

impl Key {
    /// Its name in signatures.
    pub(crate) fn id(&self) -> String {
        format!("ed25519:{}", self.public)
    }
}

/// Keys of some users: rows for [`read`].
pub(crate) fn select_keys(users: Vec<String>) -> Select {
    select(
        "SELECT user_id, usage, public_key, json FROM keys_cross_signing WHERE user_id IN ($1)",
        params![users],
    )
}

/// Keys with their users.
///
/// # Errors
/// Storage.
pub(crate) fn read(rows: Rows) -> Result<Vec<(String, Key)>, Error> {
    let rows: Vec<(String, String, String, String)> = rows.all()?;
    rows.into_iter()
        .map(|(user, usage, public, json)| {
            Ok((user, Key { usage, public, map: signed::stored(&json)? }))
        })
        .collect()
}

/// The key of this use.
pub(crate) fn find<'a>(keys: &'a [(String, Key)], user: &str, usage: &str) -> Option<&'a Key> {
    keys.iter().find(|(owner, key)| owner == user && key.usage == usage).map(|(_, key)| key)
}

/// Checks the form of an uploaded key.
///
/// # Errors
/// `M_INVALID_PARAM`.
pub(crate) fn check(user: &str, usage: &str, value: Value) -> Result<Key, Error> {
    let wrong = |what: &str| Error::invalid_param(format!("the {usage} key {what}"));
    let Value::Object(mut map) = value else { return Err(wrong("is no object")) };
    map.remove("unsigned");
    if map.get("user_id").and_then(Value::as_str) != Some(user) {
        return Err(wrong("is of another user"));
    }
    let usages = map.get("usage").and_then(Value::as_array);
    if !usages.is_some_and(|usages| usages.iter().any(|one| one == usage)) {
        return Err(wrong("is for another use"));
    }
    let keys = map.get("keys").and_then(Value::as_object);
    let mut keys = keys.ok_or_else(|| wrong("has no keys"))?.iter();
    let (Some((id, public)), None) = (keys.next(), keys.next()) else {
        return Err(wrong("must have one key"));
    };
    let public = public.as_str().filter(|public| {
        id.strip_prefix("ed25519:") == Some(public) && !public.is_empty() && public.len() <= 64
    });
    let public = public.ok_or_else(|| wrong("must be an ed25519 key named after itself"))?;
    let public = public.to_owned();
    if let Some(signatures) = map.get("signatures") {
        let all = signatures.as_object().ok_or_else(|| wrong("has malformed signatures"))?;
        let texts = |of: &Value| of.as_object().is_some_and(|of| of.values().all(Value::is_string));
        if !all.values().all(texts) {
            return Err(wrong("has malformed signatures"));
        }
    }
    Ok(Key { usage: usage.to_owned(), public, map })
}

/// Whether a cross-signing key of the user has this id: signatures name devices and keys alike.
///
/// # Errors
/// Storage.
pub(crate) fn is_public_key(user: &str, id: &str) -> Result<bool, Error> {
    let sql = "SELECT usage FROM keys_cross_signing WHERE user_id = $1 AND public_key = $2";
    Ok(!query(sql, params![user, id])?.rows.is_empty())
}
