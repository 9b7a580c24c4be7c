//! A request as handlers see it.

use serde::de::DeserializeOwned;

use super::{Body, Principal, WireRequest};
use crate::hooks::{RequestInfo, Requester};
use crate::matrix::Error;

/// One request. The host has matched, authenticated and limited it.
#[derive(Debug, Clone)]
pub struct Request {
    wire: WireRequest,
    query: Vec<(String, String)>,
}

/// Splits a query and decodes it (`application/x-www-form-urlencoded`). Order and repetitions are kept.
pub fn decode_query(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// Percent-encodes all but letters, digits and `-._~`, for a part of a path or query.
pub fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, &UNRESERVED).to_string()
}

/// What is encoded: all but the unreserved characters of RFC 3986.
const UNRESERVED: percent_encoding::AsciiSet =
    percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Request {
    /// Wraps what the host handed over.
    pub fn new(wire: WireRequest) -> Self {
        let query = decode_query(&wire.query);
        Self { wire, query }
    }

    /// The request as it came.
    pub fn wire(&self) -> &WireRequest {
        &self.wire
    }

    /// The method in capitals.
    pub fn method(&self) -> &str {
        &self.wire.method
    }

    /// The client's address.
    pub fn remote(&self) -> &str {
        &self.wire.remote
    }

    /// A placeholder of the path, decoded. Empty if the route has none of this name.
    pub fn param(&self, name: &str) -> &str {
        self.wire.params.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// The first query parameter of this name.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Every query parameter of this name.
    pub fn query_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A query parameter as a number or another type that can be parsed.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` if it is there and does not parse.
    pub fn query_as<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        self.query(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    Error::invalid_param(format!("query parameter {name} is malformed"))
                })
            })
            .transpose()
    }

    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.wire.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The bytes of the body; empty if there is none.
    pub fn body(&self) -> &[u8] {
        match &self.wire.body {
            Body::Bytes(bytes) => bytes,
            Body::None | Body::Blob(_) => &[],
        }
    }

    /// The body as JSON. An empty body counts as `{}`.
    ///
    /// # Errors
    /// `M_NOT_JSON` if it is no JSON, `M_BAD_JSON` if it is not what the endpoint takes.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let body = self.body();
        let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
        serde_json::from_slice(body).map_err(|error| {
            if error.is_data() {
                Error::bad_json(error.to_string())
            } else {
                Error::not_json(error.to_string())
            }
        })
    }

    /// Who asks.
    ///
    /// # Errors
    /// `M_MISSING_TOKEN` on routes where authentication is optional and none was given.
    pub fn principal(&self) -> Result<&Principal, Error> {
        self.wire.principal.as_ref().ok_or_else(Error::missing_token)
    }

    /// The full id of the user who asks.
    ///
    /// # Errors
    /// As [`Request::principal`].
    pub fn user(&self) -> Result<&str, Error> {
        Ok(&self.principal()?.user)
    }

    /// The device that asks, if it has one.
    pub fn device(&self) -> Option<&str> {
        self.wire.principal.as_ref()?.device.as_deref()
    }

    /// The request as modules are told of it.
    pub fn info(&self) -> RequestInfo {
        RequestInfo {
            id: self.wire.request_id.clone(),
            remote: self.wire.remote.clone(),
            user_agent: self.header("user-agent").unwrap_or_default().to_owned(),
        }
    }

    /// Who asks, as modules are told of it.
    ///
    /// # Errors
    /// As [`Request::principal`].
    pub fn requester(&self) -> Result<Requester, Error> {
        let principal = self.principal()?;
        Ok(Requester {
            user: principal.user.clone(),
            device: principal.device.clone(),
            service: principal.service.clone(),
            admin: principal.marks.iter().any(|mark| mark == "admin"),
            request: self.info(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::decode_query;

    #[test]
    fn query_is_decoded_in_order() {
        let pairs = decode_query("a=1&b=x%20y+z&a=2&flag");
        let expected = [("a", "1"), ("b", "x y z"), ("a", "2"), ("flag", "")];
        assert_eq!(pairs, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }
}
