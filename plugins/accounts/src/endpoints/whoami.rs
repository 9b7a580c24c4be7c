//! `GET /_matrix/client/v3/account/whoami`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami

use serde::Serialize;
use tessera_sdk::http::{Answer, Request, Result};

#[derive(Debug, Serialize)]
struct Me<'a> {
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    is_guest: bool,
}

/// Whose token this is.
pub fn handle(request: &Request) -> Result {
    let principal = request.principal()?;
    Answer::json(&Me {
        user_id: &principal.user,
        device_id: principal.device.as_deref(),
        is_guest: principal.marks.iter().any(|mark| mark == "guest"),
    })
}
