//! Media of other servers.
//!
//! Whoever fetches it stores a row with its origin (see [`crate::store::files::insert`]) and wakes [`Place::topic`]; from then on it is served like
//! any other.

use tessera_sdk::matrix::Error;

use crate::place::Place;
use crate::store::files::File;

/// Gets a file of another server that is not kept here.
///
/// # Errors
/// `M_NOT_FOUND`: nothing is fetched from other servers.
pub(crate) fn fetch(_place: &Place) -> Result<File, Error> {
    Err(Error::not_found("media of other servers cannot be reached"))
}
