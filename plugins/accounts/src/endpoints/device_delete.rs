//! `DELETE /_matrix/client/v3/devices/{deviceId}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3devicesdeviceid

use serde::Deserialize;
use tessera_sdk::http::{Answer, Request, Result};

use crate::session;
use crate::uia::{self, Auth, Stage};

#[derive(Debug, Deserialize)]
struct Body {
    auth: Option<Auth>,
}

/// Logs a device out, after the password stage.
pub fn handle(request: &Request) -> Result {
    let body: Body = request.json()?;
    if let Some(ask) = uia::check(request, Stage::Password, body.auth.as_ref())? {
        return Ok(ask);
    }
    session::remove_devices(request.user()?, &[request.param("deviceId").to_owned()])?;
    Answer::empty()
}
