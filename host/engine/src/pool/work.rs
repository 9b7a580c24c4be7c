//! What is run on an instance: one type for each kind of call.

use std::time::Duration;

use wasmtime::component::Val;

use super::{NotOffered, figures, instance::Warm};
use crate::{
    api::{
        Answer, BoxFuture, Credentials, Denial, Grant, MAX_PARKED_STATE, Message, Parked, Piece,
        Principal, Request, Response, ResponseBody, WakeReason,
    },
    bindings::exports::tessera::plugin::http::{Outcome, Part},
    capabilities::OwnRates,
    limits::Breach,
};

/// One call.
pub(crate) trait Work: Send {
    type Output: Send;

    /// Index of the function in the pool's figures.
    fn function(&self) -> usize;

    fn run<'a>(self, warm: &'a mut Warm) -> BoxFuture<'a, wasmtime::Result<Self::Output>>
    where
        Self: 'a;

    /// Whether an answer counts against the version that gave it.
    fn is_fault(_output: &Self::Output) -> bool {
        false
    }
}

pub(crate) struct Handle(pub(crate) Request);

impl Work for Handle {
    type Output = Answer;

    fn function(&self) -> usize {
        1
    }

    fn run<'a>(self, warm: &'a mut Warm) -> BoxFuture<'a, wasmtime::Result<Answer>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let http = warm.exports.http.as_ref().ok_or(NotOffered("tessera:plugin/http"))?;
            warm.store.data_mut().call.own = OwnRates::of(self.0.principal.as_ref());
            let outcome = http.call_handle(&mut warm.store, &self.0).await?;
            answer(warm, outcome)
        })
    }

    fn is_fault(answer: &Answer) -> bool {
        failed(answer)
    }
}

pub(crate) struct Resume<'r> {
    pub(crate) route: &'r str,
    pub(crate) state: Vec<u8>,
    pub(crate) reason: WakeReason,
    pub(crate) principal: Option<Principal>,
}

impl Work for Resume<'_> {
    type Output = Answer;

    fn function(&self) -> usize {
        2
    }

    fn run<'a>(self, warm: &'a mut Warm) -> BoxFuture<'a, wasmtime::Result<Answer>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let http = warm.exports.http.as_ref().ok_or(NotOffered("tessera:plugin/http"))?;
            let principal = self.principal.as_ref();
            warm.store.data_mut().call.own = OwnRates::of(principal);
            let outcome = http
                .call_resume(&mut warm.store, self.route, &self.state, self.reason, principal)
                .await?;
            answer(warm, outcome)
        })
    }

    fn is_fault(answer: &Answer) -> bool {
        failed(answer)
    }
}

fn failed(answer: &Answer) -> bool {
    matches!(answer, Answer::Done(response) | Answer::Begun(response, _) if response.status >= 500)
}

/// Takes the watch of a parked request out of the call, and checks sizes.
fn answer(warm: &mut Warm, outcome: Outcome) -> wasmtime::Result<Answer> {
    let state = warm.store.data_mut();
    match outcome {
        Outcome::Done(response) => {
            let cap = state.caps.limits.result;
            count(&response)?;
            if size(&response) > cap {
                return Err(Breach::Result(cap).into());
            }
            let success = (200..300).contains(&response.status);
            match state.call.more.take().filter(|_| success) {
                None => Ok(Answer::Done(response)),
                Some(_) if !matches!(response.body, ResponseBody::Bytes(_)) => {
                    Err(wasmtime::format_err!("an answer that goes on begins with bytes"))
                }
                Some(more) => Ok(Answer::Begun(response, more)),
            }
        }
        Outcome::Park(parking) => {
            if parking.state.len() > MAX_PARKED_STATE {
                return Err(Breach::Result(MAX_PARKED_STATE).into());
            }
            let watch = state
                .call
                .take(parking.watch)
                .ok_or_else(|| wasmtime::format_err!("parked on a watch that it does not hold"))?;
            Ok(Answer::Park(Parked {
                watch,
                timeout: Duration::from_millis(parking.timeout_ms.into()),
                state: parking.state,
            }))
        }
    }
}

/// Headers, and blobs and bytes that are streamed one after the other.
const HEADERS_MAX: usize = 256;
const PARTS_MAX: usize = 4096;

/// Each of them costs the edge more than its bytes say, and each header must be one.
fn count(response: &Response) -> Result<(), Breach> {
    if response.headers.len() > HEADERS_MAX {
        return Err(Breach::Many(HEADERS_MAX, "headers"));
    }
    // What could end the head and begin another answer.
    let wrong = |(name, value): &&(String, String)| {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let text = |byte: u8| byte == b'\t' || !(byte < b' ' || byte == 0x7f);
        name.is_empty() || !name.bytes().all(token) || !value.bytes().all(text)
    };
    if let Some((name, _)) = response.headers.iter().find(wrong) {
        return Err(Breach::Header(name.chars().take(64).collect()));
    }
    match &response.body {
        ResponseBody::Parts(parts) if parts.len() > PARTS_MAX => {
            Err(Breach::Many(PARTS_MAX, "parts"))
        }
        _ => Ok(()),
    }
}

fn size(response: &Response) -> usize {
    let body = match &response.body {
        ResponseBody::None | ResponseBody::Blob(_) => 0,
        ResponseBody::Bytes(bytes) => bytes.len(),
        ResponseBody::Parts(parts) => parts.iter().fold(0_usize, |sum, part| match part {
            Part::Bytes(bytes) => sum.saturating_add(bytes.len()),
            Part::Blob(_) => sum,
        }),
    };
    response
        .headers
        .iter()
        .fold(body, |sum, (name, value)| sum.saturating_add(name.len()).saturating_add(value.len()))
}

/// The next piece of an answer that was begun.
pub(crate) struct Next<'r> {
    pub(crate) route: &'r str,
    pub(crate) state: Vec<u8>,
    pub(crate) principal: Option<Principal>,
}

impl Work for Next<'_> {
    type Output = Result<Piece, String>;

    fn function(&self) -> usize {
        7
    }

    fn run<'a>(self, warm: &'a mut Warm) -> BoxFuture<'a, wasmtime::Result<Self::Output>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let guest = warm.exports.continuation.as_ref().ok_or(NotOffered(CONTINUATION))?;
            let principal = self.principal.as_ref();
            warm.store.data_mut().call.own = OwnRates::of(principal);
            let piece =
                guest.call_next(&mut warm.store, self.route, &self.state, principal).await?;
            let cap = warm.store.data().caps.limits.result;
            if let Ok(piece) = &piece {
                let more = piece.more.as_ref().map_or(0, Vec::len);
                if piece.bytes.len() > cap {
                    return Err(Breach::Result(cap).into());
                }
                if more > MAX_PARKED_STATE {
                    return Err(Breach::Result(MAX_PARKED_STATE).into());
                }
            }
            Ok(piece)
        })
    }

    fn is_fault(piece: &Result<Piece, String>) -> bool {
        piece.is_err()
    }
}

pub(crate) const CONTINUATION: &str = "tessera:plugin/continuation";

pub(crate) struct Authenticate(pub(crate) Credentials);

impl Work for Authenticate {
    type Output = Result<Option<Grant>, Denial>;

    fn function(&self) -> usize {
        3
    }

    fn run<'a>(self, warm: &'a mut Warm) -> BoxFuture<'a, wasmtime::Result<Self::Output>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let guest = warm
                .exports
                .authenticator
                .as_ref()
                .ok_or(NotOffered("tessera:plugin/authenticator"))?;
            guest.call_authenticate(&mut warm.store, &self.0).await
        })
    }
}

pub(crate) struct Consume(pub(crate) Vec<Message>);

impl Work for Consume {
    type Output = Result<u32, String>;

    fn function(&self) -> usize {
        4
    }

    fn run<'a>(self, warm: &'a mut Warm) -> BoxFuture<'a, wasmtime::Result<Self::Output>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let guest =
                warm.exports.consumer.as_ref().ok_or(NotOffered("tessera:plugin/consumer"))?;
            guest.call_handle(&mut warm.store, &self.0).await
        })
    }

    fn is_fault(result: &Result<u32, String>) -> bool {
        result.is_err()
    }
}

pub(crate) struct Fire<'r> {
    pub(crate) name: &'r str,
    pub(crate) payload: &'r str,
}

impl Work for Fire<'_> {
    type Output = Result<(), String>;

    fn function(&self) -> usize {
        5
    }

    fn run<'a>(self, warm: &'a mut Warm) -> BoxFuture<'a, wasmtime::Result<Self::Output>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let guest = warm.exports.timer.as_ref().ok_or(NotOffered("tessera:plugin/timer"))?;
            guest.call_fire(&mut warm.store, self.name, self.payload).await
        })
    }

    fn is_fault(result: &Result<(), String>) -> bool {
        result.is_err()
    }
}

pub(crate) struct Start;

impl Work for Start {
    type Output = Result<(), String>;

    fn function(&self) -> usize {
        6
    }

    /// Nothing to call is a start that went well: the instance was made, so the component's types fit.
    fn run<'a>(self, warm: &'a mut Warm) -> BoxFuture<'a, wasmtime::Result<Self::Output>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            match warm.exports.lifecycle.as_ref() {
                Some(guest) => guest.call_start(&mut warm.store).await,
                None => Ok(Ok(())),
            }
        })
    }
}

/// A function of a service or hook, on values.
pub(crate) struct CallFunction<'r> {
    pub(crate) index: usize,
    pub(crate) params: &'r [Val],
    pub(crate) results: &'r mut [Val],
}

impl Work for CallFunction<'_> {
    type Output = ();

    fn function(&self) -> usize {
        figures::FIRST + self.index
    }

    fn run<'a>(self, warm: &'a mut Warm) -> BoxFuture<'a, wasmtime::Result<()>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let function =
                warm.exports.functions.get(self.index).ok_or(NotOffered("such function"))?;
            function.call_async(&mut warm.store, self.params, self.results).await
        })
    }
}
