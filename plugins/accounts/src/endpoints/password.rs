//! `POST /_matrix/client/v3/account/password`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword

use serde::Deserialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::Batch;
use tessera_sdk::{crypto, params};

use crate::{password, session, uia};

#[derive(Debug, Deserialize)]
struct Body {
    new_password: Option<String>,
    #[serde(default = "yes")]
    logout_devices: bool,
}

fn yes() -> bool {
    true
}

/// Changes the password after the password stage; the user's other devices are logged out unless told otherwise.
pub fn handle(request: &Request) -> Result {
    let user = request.user()?;
    let body: Body = request.json()?;
    if let Some(ask) = uia::password(request)? {
        return Ok(ask);
    }
    let new = body.new_password;
    let new = new.ok_or_else(|| Error::missing_param("new_password is missing"))?;
    password::check_new(&new)?;
    let mut batch = Batch::new()
        .run(
            "UPDATE accounts_users SET password_hash = $1, revision = revision + 1              WHERE user_id = $2 AND deactivated = FALSE",
            params![crypto::hash_password(&new), user],
        )
        .expect(1);
    if body.logout_devices {
        batch = session::remove_all(batch, user, request.device())?;
    }
    batch.commit()?;
    Answer::empty()
}
