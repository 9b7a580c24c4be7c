//! What the edge, the bus and the binary use to call plug-ins.

use std::{pin::Pin, time::Duration};

pub use tessera_bus::Watch;

pub use crate::bindings::{
    exports::tessera::plugin::{
        authenticator::{Credentials, Denial, Grant},
        consumer::Message,
        continuation::Piece,
        http::{Body, Part, Request, Response, ResponseBody, WakeReason},
    },
    tessera::plugin::identity::{Principal, RateOverride},
};

/// A boxed future, so that [`Dispatch`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a plug-in made of a request.
#[derive(Debug)]
pub enum Answer {
    /// The response.
    Done(Response),
    /// The response's beginning, and the state for [`Dispatch::next`].
    Begun(Response, Vec<u8>),
    /// Nothing yet; the caller waits and then calls [`Dispatch::resume`].
    Park(Parked),
}

/// A request that waits. It holds no instance.
#[derive(Debug)]
pub struct Parked {
    /// Fires when one of the topics does. Dropping it unsubscribes.
    pub watch: Watch,
    /// After this time `resume` is called in any case.
    pub timeout: Duration,
    /// To be handed back to `resume`; at most [`MAX_PARKED_STATE`] bytes.
    pub state: Vec<u8>,
}

/// Cap on [`Parked::state`], and on the state of an answer that goes on, so that an idle client stays cheap (the contract's figure).
pub const MAX_PARKED_STATE: usize = 16 * 1024;

/// Why a call gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The plug-in is not there, is quarantined, or does not offer what was asked. Nothing was started.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Too many calls wait already. Nothing was started.
    #[error("overloaded: too many calls of this plug-in wait for an instance")]
    Overloaded,
    /// The wall time of the call ran out. It may have had effects.
    #[error("the call did not end in time")]
    Timeout,
    /// The plug-in trapped or broke a limit. It may have had effects.
    #[error("trapped: {0}")]
    Trapped(String),
    /// The node that ran the call was lost, or its answer was. It may have had effects.
    #[error("lost: {0}")]
    Lost(String),
    /// The tenant is over one of its quotas. Nothing was started.
    #[error("quota of {what} used up, try again in {} ms", .retry_after.as_millis())]
    Quota {
        /// When it is worth another try.
        retry_after: Duration,
        /// Which quota, as the descriptor names it.
        what: String,
    },
}

impl CallError {
    /// Whether it counts against the version of the plug-in that was called.
    pub(crate) fn is_fault(&self) -> bool {
        match self {
            Self::Trapped(_) | Self::Timeout | Self::Lost(_) => true,
            Self::Unavailable(_) | Self::Overloaded | Self::Quota { .. } => false,
        }
    }

    /// The value of metrics' label `result`.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Trapped(_) => "trapped",
            Self::Lost(_) => "lost",
            Self::Quota { .. } => "quota",
        }
    }
}

/// Calls into the plug-ins of one tenant. Every call may wait for an instance, takes one, and gives it back.
///
/// Dropping a future ends the call; the instance it ran on is discarded.
pub trait Dispatch: Send + Sync + 'static {
    /// Asks an authenticator who sent a request. `Ok(Ok(None))`: there were no credentials.
    fn authenticate<'a>(
        &'a self,
        plugin: &'a str,
        credentials: Credentials,
    ) -> BoxFuture<'a, Result<Result<Option<Grant>, Denial>, CallError>>;

    /// Bytes that a route's body may have by the plug-in's configuration (`body-max-config` of the manifest), if that says so. It never
    /// raises the route's own cap.
    fn body_max(&self, _plugin: &str, _route: &str) -> Option<u64> {
        None
    }

    /// Hands over a request on one of the plug-in's routes. The route's time-out is kept here.
    fn handle<'a>(
        &'a self,
        plugin: &'a str,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, CallError>>;

    /// Goes on with a parked request; the arguments are those of the WIT function, `request_id` is that
    /// of the request.
    fn resume<'a>(
        &'a self,
        plugin: &'a str,
        request_id: &'a str,
        route: &'a str,
        state: Vec<u8>,
        reason: WakeReason,
        principal: Option<Principal>,
    ) -> BoxFuture<'a, Result<Answer, CallError>>;

    /// The next piece of an answer that was begun; the arguments are those of the WIT function. `Ok(Err(text))`: there is none, the
    /// answer stays a torso. Who begins none need not have it.
    fn next<'a>(
        &'a self,
        plugin: &'a str,
        _request_id: &'a str,
        _route: &'a str,
        _state: Vec<u8>,
        _principal: Option<Principal>,
    ) -> BoxFuture<'a, Result<Result<Piece, String>, CallError>> {
        let text = format!("{plugin} goes on with no answers");
        Box::pin(std::future::ready(Err(CallError::Unavailable(text))))
    }

    /// Hands over messages of one topic, in order. `Ok(Ok(n))`: the first n are done; `Ok(Err(text))`: the
    /// plug-in refused one.
    fn consume<'a>(
        &'a self,
        plugin: &'a str,
        messages: Vec<Message>,
    ) -> BoxFuture<'a, Result<Result<u32, String>, CallError>>;

    /// Tells of a timer that is due.
    fn fire<'a>(
        &'a self,
        plugin: &'a str,
        name: &'a str,
        payload: &'a str,
    ) -> BoxFuture<'a, Result<Result<(), String>, CallError>>;

    /// Runs the plug-in's `start`, if it has one. Called once for each version before the first other call.
    fn start<'a>(&'a self, plugin: &'a str)
    -> BoxFuture<'a, Result<Result<(), String>, CallError>>;
}
