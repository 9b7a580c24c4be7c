//! Bodies of requests.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tessera_sdk::http::Request;
use tessera_sdk::matrix::Error;

/// The body as the endpoint's own type; no body at all is `{}`.
///
/// # Errors
/// `M_NOT_JSON`, `M_BAD_JSON`.
pub(crate) fn of<T: DeserializeOwned>(request: &Request) -> Result<T, Error> {
    let map: Map<String, Value> = request.json()?;
    serde_json::from_value(Value::Object(map)).map_err(|error| Error::bad_json(error.to_string()))
}
