//! `POST /_matrix/client/v3/login`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login

use serde::{Deserialize, Serialize};
use tessera_sdk::crypto;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch};

use crate::password::{self, Identifier};
use crate::session::{self, Issued, Wish};

#[derive(Debug, Deserialize)]
struct Body {
    #[serde(rename = "type")]
    kind: Option<String>,
    identifier: Option<Identifier>,
    /// Before identifiers there was this.
    user: Option<String>,
    password: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    #[serde(default)]
    refresh_token: bool,
}

/// The answer of login and registration.
#[derive(Debug, Serialize)]
pub struct LoggedIn {
    /// Full id.
    pub user_id: String,
    /// Deprecated, but read by old clients.
    pub home_server: String,
    /// Tokens and device; nothing if a registration asked not to be logged in.
    #[serde(flatten)]
    pub issued: Option<Issued>,
}

/// Logs in with a password.
///
/// `M_FORBIDDEN` for a wrong user or password, without saying which; `M_USER_DEACTIVATED`; `M_UNKNOWN` for
/// another type of login; 429 after too many tries.
pub fn handle(request: &Request) -> Result {
    let body: Body = request.json()?;
    match body.kind.as_deref() {
        Some("m.login.password") => {}
        Some(_) => {
            return Err(Error::new(ErrorCode::Unknown, "unknown type of login").status(400));
        }
        None => return Err(Error::missing_param("type is missing")),
    }
    if body.identifier.is_none() && body.user.is_none() {
        return Err(Error::missing_param("identifier is missing"));
    }
    let given = body.password.as_deref();
    let given = given.ok_or_else(|| Error::missing_param("password is missing"))?;
    let wrong = || Error::forbidden("wrong user or password");
    // Somebody who cannot be here takes as long as anybody.
    let user = password::named(body.identifier.as_ref(), body.user.as_deref());
    let verified = password::verify(user.as_deref().unwrap_or_default(), given)?;
    let (Some(user), Some(verified)) = (user, verified) else { return Err(wrong()) };
    if verified.deactivated {
        return Err(Error::new(ErrorCode::UserDeactivated, "this account was deactivated"));
    }
    let wish = Wish {
        user: user.clone(),
        device_id: body.device_id,
        display_name: body.initial_device_display_name,
        refresh: body.refresh_token,
        remote: request.remote().to_owned(),
    };
    // The password may have changed since it was looked at.
    let guard = Batch::new()
        .run(
            "UPDATE accounts_users SET revision = revision WHERE user_id = $1 AND revision = $2",
            params![&user, verified.revision],
        )
        .expect(1);
    let (batch, issued) = session::log_in(guard, &wish)?;
    match batch.commit() {
        Ok(_) => {}
        Err(storage::Error::Conflict(0)) => return Err(wrong()),
        Err(error) => return Err(error.into()),
    }
    let home_server = crypto::tenant_name();
    Answer::json(&LoggedIn { user_id: user, home_server, issued: Some(issued) })
}
