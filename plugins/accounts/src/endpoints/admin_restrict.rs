//! `GET` and `PUT /_matrix/client/v1/admin/{lock,suspend}/{userId}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminlockuserid
//! https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminsuspenduserid

use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use crate::admin::{self, Flag, Standing};
use crate::uia::Object;

/// Whether a user is locked out. `M_FORBIDDEN`, `M_INVALID_PARAM`, `M_NOT_FOUND`.
pub fn locked(request: &Request) -> Result {
    let (_, standing) = target(request)?;
    Answer::json(&json!({ "locked": standing.locked }))
}

/// Whether a user is suspended. `M_FORBIDDEN`, `M_INVALID_PARAM`, `M_NOT_FOUND`.
pub fn suspended(request: &Request) -> Result {
    let (_, standing) = target(request)?;
    Answer::json(&json!({ "suspended": standing.suspended }))
}

/// Locks a user out, or lets them in again. Errors as for [`locked`], `M_MISSING_PARAM`.
pub fn lock(request: &Request) -> Result {
    set(request, Flag::Locked)
}

/// Suspends a user, or ends that. Errors as for [`suspended`], `M_MISSING_PARAM`.
pub fn suspend(request: &Request) -> Result {
    set(request, Flag::Suspended)
}

/// Whom it is about. Who may not ask learns nothing of who there is.
fn target(request: &Request) -> std::result::Result<(&str, Standing), Error> {
    admin::only(request)?;
    let user = admin::local(request.param("userId"))?;
    let standing = admin::standing(user)?.ok_or_else(|| Error::not_found("no such user"))?;
    if standing.admin {
        return Err(Error::forbidden("this is an administrator"));
    }
    Ok((user, standing))
}

fn set(request: &Request, flag: Flag) -> Result {
    let (user, _) = target(request)?;
    let what = flag.column();
    let body: Object = request.json()?;
    let value = body.get(what).ok_or_else(|| Error::missing_param(format!("{what} is missing")))?;
    let value = value.as_bool().ok_or_else(|| Error::bad_json(format!("{what} is a boolean")))?;
    admin::set(user, flag, value)?;
    let mut answer = Object::new();
    answer.insert(what.to_owned(), Value::Bool(value));
    Answer::json(&answer)
}
