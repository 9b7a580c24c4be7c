//! `GET /_matrix/client/v3/admin/whois/{userId}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3adminwhoisuserid

use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::query;

use crate::{admin, ids};

/// Where a user's devices were last seen, to within an hour. For the user and for administrators; `M_FORBIDDEN` for others.
pub fn handle(request: &Request) -> Result {
    let user = ids::user_in_path(request.param("userId"))?;
    if request.user()? != user {
        admin::only(request)?;
        admin::local(user)?;
        if admin::standing(user)?.is_none() {
            return Err(Error::not_found("no such user"));
        }
    }
    let rows: Vec<(String, u64, String, String)> = query(
        "SELECT device_id, last_seen_ms, last_seen_ip, user_agent FROM accounts_devices WHERE user_id = $1",
        params![user],
    )?
    .all()?;
    let mut devices = Map::new();
    for (device, seen, ip, agent) in rows {
        let connection = json!({ "ip": ip, "last_seen": seen, "user_agent": agent });
        devices.insert(device, json!({ "sessions": [{ "connections": [connection] }] }));
    }
    Answer::json(&json!({ "user_id": user, "devices": Value::Object(devices) }))
}
