//! `PUT /_matrix/client/v3/devices/{deviceId}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid

use serde::Deserialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::Batch;

/// Bytes of a device's name.
const MAX_NAME: usize = 512;

#[derive(Debug, Deserialize)]
struct Body {
    display_name: Option<String>,
}

/// Names a device. Without a name nothing changes. 404 `M_NOT_FOUND`, `M_TOO_LARGE`.
pub fn handle(request: &Request) -> Result {
    let body: Body = request.json()?;
    if body.display_name.as_ref().is_some_and(|name| name.len() > MAX_NAME) {
        return Err(Error::too_large(format!("a name has at most {MAX_NAME} bytes")));
    }
    let committed = Batch::new()
        .run(
            "UPDATE accounts_devices SET display_name = COALESCE($1, display_name)              WHERE user_id = $2 AND device_id = $3",
            params![body.display_name, request.user()?, request.param("deviceId")],
        )
        .commit_blind()?;
    if committed.affected.first() == Some(&1) {
        return Answer::empty();
    }
    Err(Error::not_found("no such device"))
}
