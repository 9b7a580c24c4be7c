//! Bodies of requests.

use ruma::canonical_json::{CanonicalJsonObject, CanonicalJsonValue};
use serde::de::DeserializeOwned;
use tessera_sdk::http::Request;
use tessera_sdk::matrix::Error;

use crate::core::content;

/// The body as the content of an event.
///
/// # Errors
/// `M_NOT_JSON`, `M_BAD_JSON`.
pub fn content(request: &Request) -> Result<CanonicalJsonObject, Error> {
    Ok(content::parse(request.body())?)
}

/// The body as the endpoint's own type; no body at all is `{}`.
///
/// # Errors
/// `M_NOT_JSON`, `M_BAD_JSON`.
pub fn of<T: DeserializeOwned>(request: &Request) -> Result<T, Error> {
    request.json::<serde_json::Map<String, serde_json::Value>>().and_then(|map| {
        serde_json::from_value(serde_json::Value::Object(map))
            .map_err(|error| Error::bad_json(error.to_string()))
    })
}

/// Makes a content; members that are none are left out.
pub fn object<const N: usize>(
    members: [(&str, Option<CanonicalJsonValue>); N],
) -> CanonicalJsonObject {
    members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// A text as JSON, where there is one.
pub fn text(value: Option<&str>) -> Option<CanonicalJsonValue> {
    value.map(CanonicalJsonValue::from)
}
