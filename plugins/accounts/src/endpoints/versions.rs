//! `GET /_matrix/client/versions`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};

/// Versions of which everything that a client relies on is there.
const VERSIONS: [&str; 13] = [
    "r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10",
    "v1.11", "v1.12",
];

/// Answers for everybody.
pub fn handle(_: &Request) -> Result {
    Answer::json(&json!({ "versions": VERSIONS, "unstable_features": {} }))
}
