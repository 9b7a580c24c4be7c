//! GET /_matrix/client/v1/media/config, and the paths of old.
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediaconfig>

use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::{hooks, log};

use crate::config;

/// # Errors
/// `M_MISSING_TOKEN`.
pub(crate) fn handle(request: &Request) -> Result {
    let user = request.user()?;
    if hooks::answered("tessera:hooks/media-limits")
        && let Some(text) = hooks::media_config(user)
    {
        match serde_json::from_str::<Value>(&text) {
            Ok(object @ Value::Object(_)) => return Answer::json(&object),
            _ => log::warn("a module's media configuration is no JSON object", &[("user", user)]),
        }
    }
    Answer::json(&json!({ "m.upload.size": config::checked()?.max_upload }))
}
