//! `GET` and `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridaccount_datatype
//! https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridaccount_datatype

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::services;

use crate::{account_data, ids};

/// Types with an endpoint of their own.
/// Spec: client-server API, Client Config, server behaviour.
pub fn is_servers(kind: &str) -> bool {
    matches!(kind, "m.fully_read" | "m.push_rules")
}

/// What is said of them: 405 `M_BAD_JSON`.
pub fn refuse(kind: &str) -> Error {
    Error::new(ErrorCode::BadJson, format!("{kind} is set by an endpoint of its own")).status(405)
}

/// The user's own entry. 404 `M_NOT_FOUND`.
pub fn get(request: &Request) -> Result {
    let user = request.user()?;
    ids::own(user, request.param("userId"))?;
    let kind = request.param("type");
    if kind == "m.push_rules" {
        let rules = services::push_rules(user).map_err(|error| {
            let busy = Error::internal(format!("push rules: {error:?}"));
            busy.status(503)
        })?;
        return Ok(Answer::raw_json(200, rules.into_bytes()));
    }
    match account_data::get(user, "", kind)? {
        Some((content, _)) => Ok(Answer::raw_json(200, content.into_bytes())),
        None => Err(Error::not_found("no such account data")),
    }
}

/// Stores an entry of the user's own.
///
/// `M_FORBIDDEN` for another's, 405 for what has an endpoint of its own, `M_NOT_JSON`, `M_BAD_JSON`.
pub fn set(request: &Request) -> Result {
    let user = request.user()?;
    ids::own(user, request.param("userId"))?;
    let kind = request.param("type");
    if is_servers(kind) {
        return Err(refuse(kind));
    }
    let content = account_data::check(request.body())?;
    account_data::put(user, "", kind, &content)?;
    Answer::empty()
}
