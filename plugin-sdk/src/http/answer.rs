//! What handlers give back.

use serde::Serialize;

use super::{Outcome, Parking, Principal, Response, ResponseBody};
use crate::backend;
use crate::bus::WatchId;
use crate::matrix::Error;

/// An answer, or the wish to wait for one.
#[derive(Debug, Clone)]
pub struct Answer(Outcome);

/// An answer that was begun and goes on.
#[derive(Debug, Clone)]
pub struct Continued {
    /// What [`Answer::and_then`] or the piece before was given.
    pub state: Vec<u8>,
    /// Who asked; still valid.
    pub principal: Option<Principal>,
}

/// A piece of an answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What comes next; may be empty.
    pub bytes: Vec<u8>,
    /// The state for the piece after this one, at most 16 KiB; none: the answer ends here.
    pub more: Option<Vec<u8>>,
}

/// A parked request that goes on.
#[derive(Debug, Clone)]
pub struct Parked {
    /// What [`Answer::park`] was given.
    pub state: Vec<u8>,
    /// The time is over: answer now.
    pub timed_out: bool,
    /// Who asked; still valid.
    pub principal: Option<Principal>,
}

impl Answer {
    /// 200 with a JSON body.
    ///
    /// # Errors
    /// `M_UNKNOWN` if the value cannot be JSON (a map with keys that are no strings).
    pub fn json<T: Serialize + ?Sized>(value: &T) -> super::Result {
        Self::json_with_status(200, value)
    }

    /// A JSON body with a status.
    ///
    /// # Errors
    /// As [`Answer::json`].
    pub fn json_with_status<T: Serialize + ?Sized>(status: u16, value: &T) -> super::Result {
        let body = serde_json::to_vec(value).map_err(Error::internal)?;
        Ok(Self::raw_json(status, body))
    }

    /// Bytes that are JSON already.
    pub fn raw_json(status: u16, body: Vec<u8>) -> Self {
        Self::response(Response {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: ResponseBody::Bytes(body),
        })
    }

    /// 200 with `{}`. A `Result` because it ends handlers.
    pub fn empty() -> super::Result {
        Ok(Self::raw_json(200, b"{}".to_vec()))
    }

    /// Any response.
    pub fn response(response: Response) -> Self {
        Self(Outcome::Done(response))
    }

    /// Waits in the host until `watch` fires or `timeout_ms` has passed. `state` (at most 16 KiB) comes
    /// back in [`Parked::state`]; start it with a version.
    pub fn park(watch: WatchId, timeout_ms: u32, state: Vec<u8>) -> Self {
        Self(Outcome::Park(Parking { watch, timeout_ms, state }))
    }

    /// Begins an answer that is too large to be made at once: the handler of [`super::Route::in_pieces`] gets `state` (at most 16 KiB; start it
    /// with a version) when the client has taken this body, and gives the next piece.
    ///
    /// # Errors
    /// The state is too large.
    pub fn and_then(self, state: &[u8]) -> super::Result {
        // Here and not where all answers pass: plug-ins that have no such answers do without the import.
        backend::with(|host| host.continue_with(state)).map_err(Error::internal)?;
        Ok(self)
    }

    /// What the host takes.
    pub fn into_outcome(self) -> Outcome {
        self.0
    }
}
