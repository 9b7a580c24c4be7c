//! HTTP to the outside: `tessera:host/fetch`.

use crate::backend;
pub use crate::bindings::host::fetch::{Body, Error, Request, Response};

/// Sends one request. Redirects are not followed.
///
/// # Errors
/// See [`Error`].
pub fn send(request: &Request) -> Result<Response, Error> {
    backend::with(|host| host.fetch(request))
}
