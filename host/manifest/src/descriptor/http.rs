//! The edge.

use std::{collections::BTreeMap, num::NonZeroU32};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::server::count;
use crate::{ByteSize, Duration, plugin::Auth};

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Http {
    /// Who authenticates routes that name nobody; `"none"`: such routes are open.
    pub default_authenticator: Auth,
    /// Cap on bodies of routes that name none.
    pub body_max: ByteSize,
    /// How long the head of a request may take to arrive.
    pub head_timeout: Duration,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// Requests at once that are not parked; more are answered `too-busy`.
    pub max_requests: NonZeroU32,
    /// Parked requests at once; more are answered `unavailable`.
    pub max_parked: NonZeroU32,
    /// Parked requests that go on at the same moment, with answers whose next piece is made.
    pub max_resumes: NonZeroU32,
    /// Connections at once.
    pub max_connections: NonZeroU32,
    /// Answers of authenticators kept at once.
    pub auth_cache: NonZeroU32,
    /// How long running requests may take to end at a stop.
    pub drain: Duration,
    /// Whether `x-forwarded-for`, `x-forwarded-host` and `traceparent` are believed. Only behind a proxy that sets them.
    pub trust_forwarded: bool,
    /// A route `GET /_tessera/native` that no plug-in answers, to measure the edge by itself.
    pub native_route: bool,
    /// Headers for browsers.
    pub cors: Cors,
    /// What the edge answers by itself.
    pub answers: Answers,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            default_authenticator: Auth::None,
            body_max: ByteSize::mib(1),
            head_timeout: Duration::secs(15),
            body_timeout: Duration::secs(60),
            max_requests: count(4096),
            max_parked: count(100_000),
            max_resumes: count(64),
            max_connections: count(120_000),
            auth_cache: count(50_000),
            drain: Duration::secs(10),
            trust_forwarded: false,
            native_route: false,
            cors: Cors::default(),
            answers: Answers::default(),
        }
    }
}

/// `[http.cors]`: headers that let browsers in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Cors {
    /// Whether answers carry the headers and OPTIONS is answered.
    pub enabled: bool,
    /// `access-control-allow-origin`
    pub origin: String,
    /// `access-control-allow-methods`
    pub methods: Vec<String>,
    /// `access-control-allow-headers`
    pub headers: Vec<String>,
    /// `access-control-expose-headers`
    pub expose: Vec<String>,
    /// `access-control-max-age`
    pub max_age: Duration,
}

impl Default for Cors {
    fn default() -> Self {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            enabled: true,
            origin: "*".into(),
            methods: list(&["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
            headers: list(&["X-Requested-With", "Content-Type", "Authorization", "Date"]),
            expose: Vec::new(),
            max_age: Duration::secs(86_400),
        }
    }
}

/// One answer that the edge gives by itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Answer {
    /// The status.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// The body as sent. `{retry-after-ms}` stands for the time to wait.
    pub body: String,
    /// Headers beside those of CORS.
    pub headers: BTreeMap<String, String>,
}

impl Default for Answer {
    fn default() -> Self {
        Self::plain(500, "internal error")
    }
}

impl Answer {
    fn plain(status: u16, text: &str) -> Self {
        let content_type = ("content-type".to_owned(), "text/plain; charset=utf-8".to_owned());
        Self { status, body: text.to_owned(), headers: BTreeMap::from([content_type]) }
    }
}

/// `[http.answers]`: what the edge answers by itself, one table for each case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Answers {
    /// No route has this path.
    pub not_found: Answer,
    /// No tenant answers to this host.
    pub unknown_host: Answer,
    /// The connection was made for another tenant's certificate than the host's.
    pub misdirected: Answer,
    /// The tenant is suspended.
    pub suspended: Answer,
    /// Routes have this path, but not the method.
    pub method_not_allowed: Answer,
    /// The request cannot be understood.
    pub bad_request: Answer,
    /// Path or parameter is no UTF-8 after percent-decoding.
    pub not_utf8: Answer,
    /// The body is over its cap.
    pub too_large: Answer,
    /// A rate class or a quota of the tenant is used up.
    pub too_many: Answer,
    /// The body did not arrive in time.
    pub slow_body: Answer,
    /// The plug-in trapped or answered nonsense.
    pub internal: Answer,
    /// Plug-in not running, no slot, too much waiting, or the server is stopping.
    pub unavailable: Answer,
    /// The plug-in did not answer in time.
    pub timeout: Answer,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            not_found: Answer::plain(404, "not found"),
            unknown_host: Answer::plain(404, "no such host here"),
            misdirected: Answer::plain(421, "this connection is for another host"),
            suspended: Answer::plain(503, "suspended"),
            method_not_allowed: Answer::plain(405, "method not allowed"),
            bad_request: Answer::plain(400, "bad request"),
            not_utf8: Answer::plain(400, "not UTF-8"),
            too_large: Answer::plain(413, "too large"),
            too_many: Answer::plain(429, "too many requests"),
            slow_body: Answer::plain(408, "the body took too long"),
            internal: Answer::plain(500, "internal error"),
            unavailable: Answer::plain(503, "unavailable"),
            timeout: Answer::plain(504, "no answer in time"),
        }
    }
}

/// `[rates.NAME]`: a bucket of tokens that routes take from, one token each request.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Rate {
    /// Tokens that come back each second; may be a fraction. 0 switches the class off; absent: 1.
    #[schemars(range(min = 0))]
    pub per_second: f64,
    /// Tokens in a full bucket; absent: 10.
    pub burst: NonZeroU32,
    /// Whose bucket.
    pub by: RateBy,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: 1.0, burst: count(10), by: RateBy::User }
    }
}

/// Whose bucket a request takes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RateBy {
    /// The principal's; the address's where there is none.
    #[default]
    User,
    /// The client address's.
    Address,
}

/// `[limits.NAME]`: a bucket of tokens that plug-ins take from, by keys of their own.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LimitClass {
    /// Tokens that come back each second; may be a fraction. 0 switches the class off; absent: 1.
    #[schemars(range(min = 0))]
    pub per_second: f64,
    /// Tokens in a full bucket; absent: 10.
    pub burst: NonZeroU32,
}

impl Default for LimitClass {
    fn default() -> Self {
        Self { per_second: 1.0, burst: count(10) }
    }
}
