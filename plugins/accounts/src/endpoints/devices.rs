//! `GET /_matrix/client/v3/devices`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devices

use serde::Serialize;
use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::params;
use tessera_sdk::storage::query;

/// A device as its owner sees it.
#[derive(Debug, Serialize)]
pub struct Device {
    device_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    last_seen_ip: String,
    last_seen_ts: u64,
}

/// Columns of a [`Device`].
pub type Row = (String, Option<String>, String, u64);

impl From<Row> for Device {
    fn from((device_id, display_name, last_seen_ip, last_seen_ts): Row) -> Self {
        Self { device_id, display_name, last_seen_ip, last_seen_ts }
    }
}

/// The user's devices. `last_seen` is of their log-in.
pub fn handle(request: &Request) -> Result {
    let rows: Vec<Row> = query(
        "SELECT device_id, display_name, last_seen_ip, last_seen_ms FROM accounts_devices          WHERE user_id = $1 ORDER BY position",
        params![request.user()?],
    )?
    .all()?;
    let devices: Vec<Device> = rows.into_iter().map(Device::from).collect();
    Answer::json(&json!({ "devices": devices }))
}
