//! `POST /_matrix/client/v1/login/get_token`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};

use crate::{config, login_token, uia};

/// How long the token is good: long enough to scan a code.
const LIFETIME_MS: u64 = 2 * 60 * 1000;

/// A token that logs one more device in, after the password stage. 404 `M_UNRECOGNIZED` where the operator does not want that.
pub fn handle(request: &Request) -> Result {
    let config = config::get()?;
    if !config.get_login_token || !config.token_login {
        return Err(Error::new(ErrorCode::Unrecognized, "there are no login tokens here"));
    }
    if let Some(ask) = uia::password(request)? {
        return Ok(ask);
    }
    let token = login_token::issue(request.user()?, LIFETIME_MS)?;
    Answer::json(&json!({ "login_token": token, "expires_in_ms": LIFETIME_MS }))
}
