//! `GET /.well-known/matrix/client`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use crate::config;

/// What the configuration says; 404 `M_NOT_FOUND` if it says nothing.
pub fn handle(_: &Request) -> Result {
    match config::get()?.base_url {
        Some(url) => Answer::json(&json!({ "m.homeserver": { "base_url": url } })),
        None => Err(Error::not_found("no base-url is configured")),
    }
}
