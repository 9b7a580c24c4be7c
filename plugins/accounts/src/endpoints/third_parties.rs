//! What this server knows of other networks: nothing, said in the form that clients expect. Application services bring bridges.
//!
//! https://spec.matrix.org/v1.19/client-server-api/#third-party-networks

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

/// `GET /thirdparty/protocols`
pub fn protocols(_: &Request) -> Result {
    Answer::empty()
}

/// `GET /thirdparty/{protocol,location,user}/{protocol}`: 404 `M_NOT_FOUND`.
pub fn unknown(_: &Request) -> Result {
    Err(Error::not_found("nobody bridges this protocol here"))
}

/// `GET /thirdparty/location`: what an alias bridges to. `M_MISSING_PARAM`.
pub fn location(request: &Request) -> Result {
    nothing(request, "alias")
}

/// `GET /thirdparty/user`: what a user is elsewhere. `M_MISSING_PARAM`.
pub fn user(request: &Request) -> Result {
    nothing(request, "userid")
}

fn nothing(request: &Request, needed: &str) -> Result {
    match request.query(needed) {
        Some(_) => Answer::json(&json!([])),
        None => Err(Error::missing_param(format!("{needed} is missing"))),
    }
}
