//! `GET /_matrix/client/v3/profile/{userId}/{keyName}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use super::profile::{self, may_look};
use crate::ids;

/// One member of a profile. 404 `M_NOT_FOUND` for an unknown user and for a field that is not set; but display
/// name and avatar of a known user are then left out of a success, as clients expect since before there were
/// other fields.
pub fn handle(request: &Request) -> Result {
    may_look(request)?;
    let user = ids::user_in_path(request.param("userId"))?;
    let name = request.param("keyName");
    match profile::read(user)?.remove(name) {
        Some(value) => Answer::json(&json!({ name: value })),
        None if matches!(name, "displayname" | "avatar_url") => Answer::empty(),
        None => Err(Error::not_found("the profile has no such field")),
    }
}
