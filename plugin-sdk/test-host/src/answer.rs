//! Answers as a client would read them.

use std::cell::RefCell;

use serde_json::Value;
use tessera_sdk::bindings::continuation::exports::tessera::plugin::continuation;
use tessera_sdk::bindings::http::exports::tessera::plugin::http::Guest;
use tessera_sdk::http::{Outcome, Parking, Principal, Response, ResponseBody, WakeReason};

/// What a plug-in answered.
#[derive(Debug, Clone)]
pub struct TestAnswer {
    route: String,
    principal: Option<Principal>,
    outcome: Outcome,
    more: Option<Vec<u8>>,
}

thread_local! {
    /// What the call that runs on this thread has said of how its answer goes on.
    static MORE: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

pub(crate) fn goes_on(state: &[u8]) {
    MORE.set(Some(state.to_owned()));
}

impl TestAnswer {
    /// What `call` gives.
    pub(crate) fn to(
        route: String,
        principal: Option<Principal>,
        call: impl FnOnce() -> Outcome,
    ) -> Self {
        MORE.take();
        let outcome = call();
        let success =
            matches!(&outcome, Outcome::Done(answer) if (200..300).contains(&answer.status));
        Self { route, principal, outcome, more: MORE.take().filter(|_| success) }
    }

    /// Wraps what a handler gave when it was called without a host.
    #[must_use]
    pub fn of(outcome: Outcome) -> Self {
        Self { route: String::new(), principal: None, outcome, more: None }
    }

    fn response(&self) -> &Response {
        match &self.outcome {
            Outcome::Done(response) => response,
            Outcome::Park(parking) => panic!("parked instead of answering: {parking:?}"),
        }
    }

    /// The status.
    ///
    /// # Panics
    /// If the request was parked.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response().status
    }

    /// A header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = &self.response().headers;
        headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If there is none, or it is a blob, or goes on: see [`TestAnswer::pieces`].
    #[must_use]
    pub fn json(&self) -> Value {
        assert!(self.more.is_none(), "an answer that goes on");
        match &self.response().body {
            ResponseBody::Bytes(bytes) => serde_json::from_slice(bytes).expect("a JSON body"),
            other => panic!("no JSON body: {other:?}"),
        }
    }

    /// The body as text, such as a page.
    ///
    /// # Panics
    /// If there is none, it is a blob or not UTF-8.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.response().body {
            ResponseBody::Bytes(bytes) => String::from_utf8(bytes.clone()).expect("a text"),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The JSON body of a success.
    ///
    /// # Panics
    /// If the status is not 200: calling it is itself a check.
    pub fn ok(&self) -> Value {
        let body = self.json();
        assert_eq!(self.status(), 200, "{body}");
        body
    }

    /// Status and `errcode` of an error.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn error(&self) -> (u16, String) {
        let body = self.json();
        let code = body.get("errcode").and_then(Value::as_str);
        let code = code.unwrap_or_else(|| panic!("no error: {} {body}", self.status()));
        (self.status(), code.to_owned())
    }

    /// The wish to wait, if that is the outcome.
    #[must_use]
    pub fn parked(&self) -> Option<&Parking> {
        match &self.outcome {
            Outcome::Park(parking) => Some(parking),
            Outcome::Done(_) => None,
        }
    }

    /// The pieces of a body in their order: one where it does not go on.
    ///
    /// # Panics
    /// If there is no body, or a piece is refused.
    #[must_use]
    pub fn pieces<P: continuation::Guest>(&self) -> Vec<Vec<u8>> {
        let ResponseBody::Bytes(first) = &self.response().body else { panic!("no bytes") };
        let mut pieces = vec![first.clone()];
        let mut more = self.more.clone();
        while let Some(state) = more {
            let piece = P::next(self.route.clone(), state, self.principal.clone());
            let piece = piece.expect("a piece");
            pieces.push(piece.bytes);
            more = piece.more;
        }
        pieces
    }

    /// The JSON body of a success that may go on.
    ///
    /// # Panics
    /// As [`TestAnswer::ok`] and [`TestAnswer::pieces`].
    #[must_use]
    pub fn whole<P: continuation::Guest>(&self) -> Value {
        let body = self.pieces::<P>().concat();
        assert_eq!(self.status(), 200, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("a JSON body")
    }

    /// Goes on with a parked request.
    ///
    /// # Panics
    /// If it was not parked.
    #[must_use]
    pub fn resume<P: Guest>(&self, reason: WakeReason) -> Self {
        let state = self.parked().expect("a parked request").state.clone();
        let (route, principal) = (self.route.clone(), self.principal.clone());
        let resume = || P::resume(route.clone(), state, reason, principal.clone());
        Self::to(self.route.clone(), self.principal.clone(), resume)
    }
}
