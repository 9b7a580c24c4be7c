//! `GET /_matrix/client/v3/login`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};

/// The ways to log in.
pub fn handle(_: &Request) -> Result {
    Answer::json(&json!({ "flows": [{ "type": "m.login.password" }] }))
}
