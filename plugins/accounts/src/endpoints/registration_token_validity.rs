//! `GET /_matrix/client/v1/register/m.login.registration_token/validity`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use crate::config::{self, Registration};
use crate::registration_token;

/// Whether a token may be used now. `M_FORBIDDEN` where nobody registers, `M_MISSING_PARAM`.
pub fn handle(request: &Request) -> Result {
    if config::get()?.registration != Registration::Open {
        return Err(Error::forbidden("registration is closed"));
    }
    let token = request.query("token");
    let token = token.ok_or_else(|| Error::missing_param("token is missing"))?;
    Answer::json(&json!({ "valid": registration_token::is_good(token, "")? }))
}
