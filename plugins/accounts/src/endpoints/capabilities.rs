//! `GET /_matrix/client/v3/capabilities`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities

use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};

use crate::{admin, config};

/// What this server can do, for who asks.
pub fn handle(request: &Request) -> Result {
    let config = config::get()?;
    let available: Map<String, Value> =
        (1..=12).map(|version| (version.to_string(), json!("stable"))).collect();
    let enabled = |enabled: bool| json!({ "enabled": enabled });
    let mut capabilities = json!({
        "m.change_password": enabled(config.password_changes),
        "m.room_versions": { "default": config.default_room_version, "available": available },
        "m.set_displayname": enabled(true),
        "m.set_avatar_url": enabled(true),
        "m.profile_fields": enabled(true),
        "uk.tcpip.msc4133.profile_fields": enabled(true),
        "m.3pid_changes": enabled(config.threepid_changes),
        "m.get_login_token": enabled(config.get_login_token && config.token_login),
        "m.forget_forced_upon_leave": enabled(false),
    });
    if admin::is_admin(request)?
        && let Some(capabilities) = capabilities.as_object_mut()
    {
        let moderation = json!({ "lock": true, "suspend": true });
        capabilities.insert("m.account_moderation".to_owned(), moderation);
    }
    Answer::json(&json!({ "capabilities": capabilities }))
}
