//! `GET /_matrix/client/v3/devices/{deviceId}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devicesdeviceid

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::query;

use super::devices::{Device, Row};

/// One of the user's devices. 404 `M_NOT_FOUND`.
pub fn handle(request: &Request) -> Result {
    let row: Option<Row> = query(
        "SELECT device_id, display_name, last_seen_ip, last_seen_ms FROM accounts_devices          WHERE user_id = $1 AND device_id = $2",
        params![request.user()?, request.param("deviceId")],
    )?
    .first()?;
    let row = row.ok_or_else(|| Error::not_found("no such device"))?;
    Answer::json(&Device::from(row))
}
