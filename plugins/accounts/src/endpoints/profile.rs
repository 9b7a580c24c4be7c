//! `GET /_matrix/client/v3/profile/{userId}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid

use serde_json::{Map, Value};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{select, snapshot};

use crate::config::{self, ProfileLookups};
use crate::ids;

/// Everything in a local user's profile. 404 `M_NOT_FOUND` for users that are not here.
pub fn handle(request: &Request) -> Result {
    may_look(request)?;
    let user = ids::user_in_path(request.param("userId"))?;
    Answer::json(&read(user)?)
}

/// Whether who asks may read profiles at all.
///
/// # Errors
/// `M_MISSING_TOKEN` where only users may.
pub fn may_look(request: &Request) -> std::result::Result<(), Error> {
    match config::get()?.profile_lookups {
        ProfileLookups::Anybody => Ok(()),
        ProfileLookups::Users => request.principal().map(drop),
    }
}

/// A profile, as its JSON object.
///
/// # Errors
/// `M_NOT_FOUND`.
pub fn read(user: &str) -> std::result::Result<Map<String, Value>, Error> {
    let moment = snapshot(&[
        select(
            "SELECT displayname, avatar_url FROM accounts_users              WHERE user_id = $1 AND deactivated = FALSE",
            params![user],
        ),
        select("SELECT name, value FROM accounts_profile_fields WHERE user_id = $1", params![user]),
    ])?;
    let mut answers = moment.answers();
    let row = answers.next().map(|rows| rows.first::<(Option<String>, Option<String>)>());
    let row = row.transpose()?.flatten();
    let (displayname, avatar_url) = row.ok_or_else(|| Error::not_found("no such user"))?;
    let mut profile = Map::new();
    for (name, value) in [("displayname", displayname), ("avatar_url", avatar_url)] {
        if let Some(value) = value {
            profile.insert(name.to_owned(), value.into());
        }
    }
    let fields = answers.next().map(|rows| rows.all::<(String, String)>()).transpose()?;
    for (name, value) in fields.unwrap_or_default() {
        profile.insert(name, serde_json::from_str(&value).map_err(Error::internal)?);
    }
    Ok(profile)
}
