//! HTTP to the outside: `tessera:host/fetch`.

use crate::backend;
pub use crate::bindings::host::fetch::{Body, Error, Request, Response};

/// A request without headers and body, with the grant's own time and cap: what differs is set beside it
/// (`Request { body, ..request("POST", url) }`).
pub fn request(method: &str, url: &str) -> Request {
    Request {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: Body::None,
        timeout_ms: 0,
        max_bytes: 0,
        connect_to: None,
        server_name: None,
        into_blob: false,
    }
}

/// Sends one request. Redirects are not followed.
///
/// # Errors
/// See [`Error`].
pub fn send(request: &Request) -> Result<Response, Error> {
    backend::with(|host| host.fetch(request))
}
