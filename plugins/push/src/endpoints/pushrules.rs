//! GET /_matrix/client/v3/pushrules/ and /_matrix/client/v3/pushrules/global/
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules>

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};

use crate::rules;

/// Every rule of the user.
pub(crate) fn all(request: &Request) -> Result {
    let stored = rules::load(request.user()?)?;
    Answer::json(&json!({ "global": rules::global(&stored.rules)? }))
}

/// The same without the scope around it.
pub(crate) fn global(request: &Request) -> Result {
    let stored = rules::load(request.user()?)?;
    Answer::json(&rules::global(&stored.rules)?)
}
