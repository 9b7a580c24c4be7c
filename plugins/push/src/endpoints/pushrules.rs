//! GET /_matrix/client/v3/pushrules/ and /_matrix/client/v3/pushrules/global/
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules>

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};

use crate::rules;

/// Every rule of the user.
///
/// # Errors
/// `M_UNRECOGNIZED` for another method than GET.
pub(crate) fn all(request: &Request) -> Result {
    get(request)?;
    let stored = rules::load(request.user()?)?;
    Answer::json(&json!({ "global": rules::global(&stored.rules)? }))
}

/// The same without the scope around it.
///
/// # Errors
/// As [`all`].
pub(crate) fn global(request: &Request) -> Result {
    get(request)?;
    let stored = rules::load(request.user()?)?;
    Answer::json(&rules::global(&stored.rules)?)
}

/// A path below `pushrules` that names nothing.
///
/// # Errors
/// `M_UNRECOGNIZED`, always.
pub(crate) fn odd(request: &Request) -> Result {
    request.user()?;
    Err(unrecognized())
}

fn get(request: &Request) -> std::result::Result<(), Error> {
    if request.method() == "GET" { Ok(()) } else { Err(unrecognized()) }
}

/// It is the rule that is malformed, not the address: 400.
fn unrecognized() -> Error {
    let text = "a rule is at pushrules/global/{kind}/{ruleId}, with enabled or actions below it";
    Error::new(ErrorCode::Unrecognized, text).status(400)
}
