//! Requests as the edge would hand them over.

use tessera_sdk::bindings::http::exports::tessera::plugin::http::Guest;
use tessera_sdk::http::{Body, Principal, WireRequest};

use crate::{TestAnswer, TestHost};

/// A request being put together.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before `send`"]
pub struct TestRequest {
    host: TestHost,
    wire: WireRequest,
}

impl TestRequest {
    pub(crate) fn new(host: TestHost, method: &str, route: &str) -> Self {
        let manifest = &host.installed().manifest;
        let known = manifest.http.routes.iter().find(|known| known.id.as_str() == route);
        let known = known.unwrap_or_else(|| panic!("{} has no route {route}", manifest.name));
        assert!(
            known.methods.iter().any(|known| known.as_str() == method),
            "route {route} has no method {method}"
        );
        let path = known.paths.first().map(ToString::to_string).unwrap_or_default();
        let wire = WireRequest {
            route: route.to_owned(),
            method: method.to_owned(),
            path,
            params: Vec::new(),
            query: String::new(),
            headers: Vec::new(),
            body: Body::None,
            principal: None,
            remote: "127.0.0.1".to_owned(),
            request_id: "test".to_owned(),
        };
        Self { host, wire }
    }

    /// A placeholder of the path, decoded.
    pub fn param(mut self, name: &str, value: &str) -> Self {
        self.wire.params.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A query parameter, undecoded value; it is encoded here.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        if !self.wire.query.is_empty() {
            self.wire.query.push('&');
        }
        let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
        self.wire.query.push_str(&format!("{name}={value}"));
        self
    }

    /// A header; the name in lower case.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.wire.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A JSON body.
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.bytes(body.to_string().as_bytes())
    }

    /// Any body.
    pub fn bytes(mut self, body: &[u8]) -> Self {
        self.wire.body = Body::Bytes(body.to_vec());
        self
    }

    /// Who asks, as an authenticator would have found.
    pub fn user(mut self, user: &str) -> Self {
        self.principal().user = user.to_owned();
        self
    }

    /// The device that asks.
    pub fn device(mut self, device: &str) -> Self {
        self.principal().device = Some(device.to_owned());
        self
    }

    /// A mark of the principal, such as `guest`.
    pub fn mark(mut self, mark: &str) -> Self {
        self.principal().marks.push(mark.to_owned());
        self
    }

    /// The client's address.
    pub fn remote(mut self, remote: &str) -> Self {
        remote.clone_into(&mut self.wire.remote);
        self
    }

    fn principal(&mut self) -> &mut Principal {
        self.wire.principal.get_or_insert_with(|| Principal {
            user: String::new(),
            device: None,
            service: None,
            marks: Vec::new(),
            unlimited: false,
            rates: Vec::new(),
        })
    }

    /// The request, for whoever calls the handler alone.
    pub fn build(self) -> WireRequest {
        self.wire
    }

    /// Hands it to the plug-in.
    pub fn send<P: Guest>(self) -> TestAnswer {
        let (route, principal) = (self.wire.route.clone(), self.wire.principal.clone());
        TestAnswer::to(route, principal, || P::handle(self.wire))
    }

    /// The host it goes through.
    #[must_use]
    pub fn host(&self) -> &TestHost {
        &self.host
    }
}
