//! Signed JSON. Spec: appendices, Signing JSON.

use ruma::canonical_json::{CanonicalJsonObject, try_from_json_map};
use serde_json::{Map, Value};
use tessera_sdk::crypto::{self, Check};
use tessera_sdk::matrix::{Error, ErrorCode};

/// A JSON object in canonical form.
///
/// # Errors
/// `M_BAD_JSON` for numbers that it cannot hold.
pub(crate) fn canonical(map: &Map<String, Value>) -> Result<String, Error> {
    let object: CanonicalJsonObject =
        try_from_json_map(map.clone()).map_err(|error| Error::bad_json(error.to_string()))?;
    serde_json::to_string(&object).map_err(Error::internal)
}

/// What is signed: the object without `signatures` and `unsigned`, in canonical form.
///
/// # Errors
/// As [`canonical`].
pub(crate) fn message(map: &Map<String, Value>) -> Result<String, Error> {
    let mut bare = map.clone();
    bare.remove("signatures");
    bare.remove("unsigned");
    canonical(&bare)
}

/// A stored object.
///
/// # Errors
/// 500: only objects are stored.
pub(crate) fn stored(json: &str) -> Result<Map<String, Value>, Error> {
    serde_json::from_str(json).map_err(Error::internal)
}

/// The signature of `user` by `key_id` on an object.
pub(crate) fn signature<'a>(
    map: &'a Map<String, Value>,
    user: &str,
    key_id: &str,
) -> Option<&'a str> {
    map.get("signatures")?.get(user)?.get(key_id)?.as_str()
}

/// Adds a signature to an object.
pub(crate) fn sign(map: &mut Map<String, Value>, user: &str, key_id: &str, signature: &str) {
    let all = map.entry("signatures").or_insert_with(|| Value::Object(Map::new()));
    let Some(all) = all.as_object_mut() else { return };
    let of_user = all.entry(user).or_insert_with(|| Value::Object(Map::new()));
    if let Some(of_user) = of_user.as_object_mut() {
        of_user.insert(key_id.to_owned(), Value::from(signature));
    }
}

/// Whether `signature` is one of `message` by the ed25519 key `public` (base64, padded or not).
pub(crate) fn holds(message: &str, signature: &str, public: &str) -> bool {
    /// Of base64: no signature and no key is longer, but for padding without end.
    const MAX: usize = 128;
    if signature.len() > MAX || public.len() > MAX {
        return false;
    }
    let bare = |text: &str| text.trim_end_matches('=').to_owned();
    let check =
        Check { message: message.to_owned(), signature: bare(signature), public: bare(public) };
    crypto::verify(&[check]).first().copied().unwrap_or(false)
}

/// 400 `M_INVALID_SIGNATURE`.
pub(crate) fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidSignature, text)
}
