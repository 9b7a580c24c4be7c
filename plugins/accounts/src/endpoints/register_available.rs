//! `GET /_matrix/client/v3/register/available`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use crate::{ids, registration};

/// Whether a user name can be registered. `M_INVALID_USERNAME`, `M_USER_IN_USE`.
pub fn handle(request: &Request) -> Result {
    let username = request.query("username");
    let username = username.ok_or_else(|| Error::missing_param("username is missing"))?;
    ids::check_chosen_localpart(username)?;
    registration::free(&ids::small(username))?;
    Answer::json(&json!({ "available": true }))
}
