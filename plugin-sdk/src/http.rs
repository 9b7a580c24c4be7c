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

pub use answer::{Answer, Parked};
pub use request::{Request, decode_query, encode};

pub use crate::bindings::http::exports::tessera::plugin::http::{
    Body, Outcome, Parking, Part, Request as WireRequest, Response, ResponseBody, WakeReason,
};
pub use crate::bindings::http::tessera::plugin::identity::Principal;
use crate::matrix::Error;

/// What a handler gives: an answer (or a place to wait), or an error for the client.
pub type Result = std::result::Result<Answer, Error>;

/// One route of the manifest and the functions that answer it.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    id: &'static str,
    handle: fn(&Request) -> Result,
    resume: Option<fn(&Parked) -> Result>,
}

impl Route {
    /// A route that answers at once. `id` as in `plugin.toml`.
    pub const fn new(id: &'static str, handle: fn(&Request) -> Result) -> Self {
        Self { id, handle, resume: None }
    }

    /// A route that may park.
    pub const fn parking(
        id: &'static str,
        handle: fn(&Request) -> Result,
        resume: fn(&Parked) -> Result,
    ) -> Self {
        Self { id, handle, resume: Some(resume) }
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
