//! `PUT /_matrix/client/v3/devices/{deviceId}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid

use serde::Deserialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, query};

use crate::{session, topics};

#[derive(Debug, Deserialize)]
struct Body {
    display_name: Option<String>,
}

/// Names a device. Without a name nothing changes. 404 `M_NOT_FOUND`, `M_TOO_LARGE`.
pub fn handle(request: &Request) -> Result {
    let body: Body = request.json()?;
    rename(request.user()?, request.param("deviceId"), body.display_name)?;
    Answer::empty()
}

/// Names a user's device; without a name nothing changes.
///
/// # Errors
/// `M_NOT_FOUND`, `M_TOO_LARGE`.
pub fn rename(user: &str, device: &str, name: Option<String>) -> std::result::Result<(), Error> {
    session::check_name(name.as_deref())?;
    let sql = "SELECT display_name FROM accounts_devices WHERE user_id = $1 AND device_id = $2";
    let found: Option<(Option<String>,)> = query(sql, params![user, device])?.first()?;
    let (before,) = found.ok_or_else(|| Error::not_found("no such device"))?;
    if name.is_none() || name == before {
        return Ok(());
    }
    let renamed = Batch::new()
        .run(
            "UPDATE accounts_devices SET display_name = $1 WHERE user_id = $2 AND device_id = $3",
            params![name, user, device],
        )
        .expect(1)
        .emit(topics::SESSIONS, user, topics::renamed(user, device))
        .commit();
    match renamed {
        Ok(_) => Ok(()),
        Err(storage::Error::Conflict(_)) => Err(Error::not_found("no such device")),
        Err(error) => Err(error.into()),
    }
}
