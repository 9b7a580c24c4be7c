//! `GET /_matrix/client/v3/capabilities`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities

use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};

use crate::config;

/// What this server can do.
pub fn handle(_: &Request) -> Result {
    let available: Map<String, Value> =
        (1..=12).map(|version| (version.to_string(), json!("stable"))).collect();
    Answer::json(&json!({ "capabilities": {
        "m.change_password": { "enabled": true },
        "m.room_versions": {
            "default": config::get()?.default_room_version,
            "available": available,
        },
        "m.set_displayname": { "enabled": true },
        "m.set_avatar_url": { "enabled": true },
        "m.profile_fields": { "enabled": true },
        "m.3pid_changes": { "enabled": false },
        "m.get_login_token": { "enabled": false },
    }}))
}
