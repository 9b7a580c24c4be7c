//! `POST /_matrix/client/v3/delete_devices`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices

use serde::Deserialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use crate::{session, uia};

#[derive(Debug, Deserialize)]
struct Body {
    devices: Option<Vec<String>>,
}

/// Logs several devices out, after the password stage.
pub fn handle(request: &Request) -> Result {
    let body: Body = request.json()?;
    if let Some(ask) = uia::password(request)? {
        return Ok(ask);
    }
    let devices = body.devices.ok_or_else(|| Error::missing_param("devices is missing"))?;
    session::remove_devices(request.user()?, &devices)?;
    Answer::empty()
}
