//! `POST /_matrix/client/v3/refresh`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh

use serde::Deserialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};

use crate::session;

#[derive(Debug, Deserialize)]
struct Body {
    refresh_token: Option<String>,
}

/// New tokens for a refresh token. 401 `M_UNKNOWN_TOKEN`.
pub fn handle(request: &Request) -> Result {
    let body: Body = request.json()?;
    let token = body.refresh_token;
    let token = token.ok_or_else(|| Error::missing_param("refresh_token is missing"))?;
    match session::refresh(&token)? {
        Some(issued) => Answer::json(&issued),
        None => {
            Err(Error::new(ErrorCode::UnknownToken, "unknown refresh token")
                .and("soft_logout", false))
        }
    }
}
