//! `DELETE /_matrix/client/v3/devices/{deviceId}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3devicesdeviceid

use tessera_sdk::http::{Answer, Request, Result};

use crate::{session, uia};

/// Logs a device out, after the password stage.
pub fn handle(request: &Request) -> Result {
    if let Some(ask) = uia::password(request)? {
        return Ok(ask);
    }
    session::remove_devices(request.user()?, &[request.param("deviceId").to_owned()])?;
    Answer::empty()
}
