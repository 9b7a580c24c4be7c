//! What administrators see and do.

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use crate::store;

/// Users that one answer lists: those refused most.
const LISTED: u32 = 100;

/// `GET /_tessera/spam-filter/refusals`: who was refused, how often, and when last (milliseconds since the Unix epoch).
pub(crate) fn refusals(request: &Request) -> Result {
    only_admins(request)?;
    let users: Vec<_> = store::refusals(LISTED)
        .map_err(Error::internal)?
        .into_iter()
        .map(|(user, times, last_ms)| json!({"user_id": user, "times": times, "last_ms": last_ms}))
        .collect();
    Answer::json(&json!({ "refusals": users }))
}

/// `DELETE /_tessera/spam-filter/refusals/{userId}`: begins anew with a user. 404 if nothing was held against them.
pub(crate) fn forgive(request: &Request) -> Result {
    only_admins(request)?;
    let user = request.param("userId");
    match store::forgive(user) {
        Ok(true) => Answer::empty(),
        Ok(false) => Err(Error::not_found(format!("{user} was never refused"))),
        Err(error) => Err(Error::internal(format!("{error:?}"))),
    }
}

fn only_admins(request: &Request) -> std::result::Result<(), Error> {
    let admin = request.principal()?.marks.iter().any(|mark| mark == "admin");
    if admin { Ok(()) } else { Err(Error::forbidden("for administrators only")) }
}
