//! Requests and answers.
//!
//! A plug-in lists its handlers once:
//!
//! ```ignore
//! const ROUTES: &[Route] = &[Route::new("whoami", whoami::handle), Route::parking("sync", sync::handle, sync::resume)];
//! tessera_sdk::serve_http!(Plugin, ROUTES);
//! ```

mod answer;
mod request;

pub use answer::{Answer, Continued, Parked, Piece};
pub use request::{Request, decode_query, encode};

pub use crate::bindings::continuation::exports::tessera::plugin::continuation::Piece as WirePiece;
pub use crate::bindings::http::exports::tessera::plugin::http::{
    Body, Outcome, Parking, Part, Request as WireRequest, Response, ResponseBody, WakeReason,
};
pub use crate::bindings::http::tessera::plugin::identity::Principal;
use crate::matrix::Error;

/// What a handler gives: an answer (or a place to wait), or an error for the client.
pub type Result = std::result::Result<Answer, Error>;

/// The handler that gives the next piece of an answer.
type Next = fn(&Continued) -> std::result::Result<Piece, Error>;

/// One route of the manifest and the functions that answer it.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    id: &'static str,
    handle: fn(&Request) -> Result,
    resume: Option<fn(&Parked) -> Result>,
    next: Option<Next>,
}

impl Route {
    /// A route that answers at once. `id` as in `plugin.toml`.
    pub const fn new(id: &'static str, handle: fn(&Request) -> Result) -> Self {
        Self { id, handle, resume: None, next: None }
    }

    /// A route that may park.
    pub const fn parking(
        id: &'static str,
        handle: fn(&Request) -> Result,
        resume: fn(&Parked) -> Result,
    ) -> Self {
        Self { id, handle, resume: Some(resume), next: None }
    }

    /// The same, with answers that go on ([`Answer::and_then`]); the plug-in has `serve_pieces!` as well. An error tears the answer off.
    #[must_use]
    pub const fn in_pieces(
        self,
        next: fn(&Continued) -> std::result::Result<Piece, Error>,
    ) -> Self {
        Self { next: Some(next), ..self }
    }

    /// The route's id in the manifest.
    pub const fn id(&self) -> &'static str {
        self.id
    }
}

fn outcome(result: Result) -> Outcome {
    match result {
        Ok(answer) => answer.into_outcome(),
        Err(error) => Outcome::Done(error.into_response()),
    }
}

/// Answers a request with the handler of its route.
pub fn serve(routes: &[Route], request: WireRequest) -> Outcome {
    let Some(route) = routes.iter().find(|route| route.id == request.route) else {
        return outcome(Err(Error::internal(format!("no handler for route {}", request.route))));
    };
    outcome((route.handle)(&Request::new(request)))
}

/// Goes on with a parked request.
pub fn resume(
    routes: &[Route],
    route: &str,
    state: Vec<u8>,
    reason: WakeReason,
    principal: Option<Principal>,
) -> Outcome {
    let handler = routes.iter().find(|r| r.id == route).and_then(|r| r.resume);
    let Some(handler) = handler else {
        return outcome(Err(Error::internal(format!("route {route} cannot be resumed"))));
    };
    outcome(handler(&Parked { state, timed_out: reason == WakeReason::Timeout, principal }))
}

/// The next piece of an answer that was begun.
///
/// # Errors
/// What the handler gives, or that there is none.
pub fn next(
    routes: &[Route],
    route: &str,
    state: Vec<u8>,
    principal: Option<Principal>,
) -> std::result::Result<WirePiece, String> {
    let handler = routes.iter().find(|r| r.id == route).and_then(|r| r.next);
    let handler = handler.ok_or_else(|| format!("answers of route {route} do not go on"))?;
    let piece = handler(&Continued { state, principal }).map_err(|error| error.to_string())?;
    Ok(WirePiece { bytes: piece.bytes, more: piece.more })
}

/// Exports `tessera:plugin/continuation` for a type that has `serve_http!` with the same routes.
#[macro_export]
macro_rules! serve_pieces {
    ($plugin:ident, $routes:expr) => {
        impl $crate::bindings::continuation::exports::tessera::plugin::continuation::Guest
            for $plugin
        {
            fn next(
                route: String,
                state: Vec<u8>,
                principal: Option<$crate::http::Principal>,
            ) -> Result<$crate::http::WirePiece, String> {
                $crate::http::next($routes, &route, state, principal)
            }
        }

        #[cfg(target_arch = "wasm32")]
        $crate::export_continuation!($plugin);
    };
}

/// Exports `tessera:plugin/http` for a type: requests go to the handlers of a list of [`Route`]s.
#[macro_export]
macro_rules! serve_http {
    ($plugin:ident, $routes:expr) => {
        impl $crate::bindings::http::exports::tessera::plugin::http::Guest for $plugin {
            fn handle(request: $crate::http::WireRequest) -> $crate::http::Outcome {
                $crate::http::serve($routes, request)
            }

            fn resume(
                route: String,
                state: Vec<u8>,
                reason: $crate::http::WakeReason,
                principal: Option<$crate::http::Principal>,
            ) -> $crate::http::Outcome {
                $crate::http::resume($routes, &route, state, reason, principal)
            }
        }

        #[cfg(target_arch = "wasm32")]
        $crate::export_http!($plugin);
    };
}
