//! `GET /.well-known/matrix/{client,support,policy_server}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient
//! https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport
//! https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixpolicy_server

use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use crate::config::{self, Config};

/// What clients of this server are configured with; none where the operator does not say.
pub fn client(config: &Config) -> Option<Value> {
    let url = config.base_url.as_ref()?;
    let mut told = config.well_known.clone();
    told.insert("m.homeserver".to_owned(), json!({ "base_url": url }));
    if let Some(server) = &config.identity_server {
        told.insert("m.identity_server".to_owned(), json!({ "base_url": server }));
    }
    Some(Value::Object(told))
}

/// What the configuration says; 404 `M_NOT_FOUND` if it says nothing.
pub fn handle(_: &Request) -> Result {
    match client(&config::get()?) {
        Some(told) => Answer::json(&told),
        None => Err(Error::not_found("no base-url is configured")),
    }
}

/// Whom to turn to; 404 `M_NOT_FOUND` if the configuration says nothing.
pub fn support(_: &Request) -> Result {
    told(config::get()?.support)
}

/// Keys of a policy server; 404 `M_NOT_FOUND` if the configuration says nothing.
pub fn policy_server(_: &Request) -> Result {
    told(config::get()?.policy_server)
}

fn told(object: Map<String, Value>) -> Result {
    if object.is_empty() {
        return Err(Error::not_found("nothing is configured"));
    }
    Answer::json(&object)
}
