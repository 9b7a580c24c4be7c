//! Answers as a client would read them.

use serde_json::Value;
use tessera_sdk::bindings::http::exports::tessera::plugin::http::Guest;
use tessera_sdk::http::{Outcome, Parking, Principal, Response, ResponseBody, WakeReason};

/// What a plug-in answered.
#[derive(Debug, Clone)]
pub struct TestAnswer {
    route: String,
    principal: Option<Principal>,
    outcome: Outcome,
}

impl TestAnswer {
    pub(crate) fn new(route: String, principal: Option<Principal>, outcome: Outcome) -> Self {
        Self { route, principal, outcome }
    }

    /// Wraps what a handler gave when it was called without a host.
    #[must_use]
    pub fn of(outcome: Outcome) -> Self {
        Self::new(String::new(), None, outcome)
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
    /// If there is none, or it is a blob.
    #[must_use]
    pub fn json(&self) -> Value {
        match &self.response().body {
            ResponseBody::Bytes(bytes) => serde_json::from_slice(bytes).expect("a JSON body"),
            other => panic!("no JSON body: {other:?}"),
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

    /// Goes on with a parked request.
    ///
    /// # Panics
    /// If it was not parked.
    #[must_use]
    pub fn resume<P: Guest>(&self, reason: WakeReason) -> Self {
        let state = self.parked().expect("a parked request").state.clone();
        let outcome = P::resume(self.route.clone(), state, reason, self.principal.clone());
        Self::new(self.route.clone(), self.principal.clone(), outcome)
    }
}
