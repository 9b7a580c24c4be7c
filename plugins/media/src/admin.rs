//! What administrators of the server do with media, on the paths that their tools know from Synapse.

mod avatars;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod quarantine;
pub(crate) mod statistics;
pub(crate) mod users;

use tessera_sdk::http::Request;
use tessera_sdk::matrix::Error;

/// The administrator who asks.
///
/// # Errors
/// `M_FORBIDDEN` for everybody else.
pub(crate) fn administrator(request: &Request) -> Result<&str, Error> {
    let principal = request.principal()?;
    if principal.marks.iter().any(|mark| mark == "admin") {
        return Ok(&principal.user);
    }
    Err(Error::forbidden("you are no administrator of this server"))
}
