//! The answers that the edge gives by itself, from `[http.answers]`.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use tessera_manifest::{Answer, Answers as Table};

use crate::body::Body;
use crate::error::EdgeError;

/// What a body may hold in place of the time to wait.
const RETRY: &str = "{retry-after-ms}";

/// Why the edge answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    NotFound,
    UnknownHost,
    Misdirected,
    Suspended,
    MethodNotAllowed,
    BadRequest,
    NotUtf8,
    TooLarge,
    SlowBody,
    Internal,
    Unavailable,
    Timeout,
}

/// All answers, checked and ready to send.
pub(crate) struct Answers {
    not_found: Prepared,
    unknown_host: Prepared,
    misdirected: Prepared,
    suspended: Prepared,
    method_not_allowed: Prepared,
    bad_request: Prepared,
    not_utf8: Prepared,
    too_large: Prepared,
    too_many: Prepared,
    slow_body: Prepared,
    internal: Prepared,
    unavailable: Prepared,
    timeout: Prepared,
}

struct Prepared {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answers {
    pub(crate) fn new(table: &Table) -> Result<Self, EdgeError> {
        Ok(Self {
            not_found: prepare("not-found", &table.not_found)?,
            unknown_host: prepare("unknown-host", &table.unknown_host)?,
            misdirected: prepare("misdirected", &table.misdirected)?,
            suspended: prepare("suspended", &table.suspended)?,
            method_not_allowed: prepare("method-not-allowed", &table.method_not_allowed)?,
            bad_request: prepare("bad-request", &table.bad_request)?,
            not_utf8: prepare("not-utf8", &table.not_utf8)?,
            too_large: prepare("too-large", &table.too_large)?,
            too_many: prepare("too-many", &table.too_many)?,
            slow_body: prepare("slow-body", &table.slow_body)?,
            internal: prepare("internal", &table.internal)?,
            unavailable: prepare("unavailable", &table.unavailable)?,
            timeout: prepare("timeout", &table.timeout)?,
        })
    }

    pub(crate) fn give(&self, case: Case) -> Response<Body> {
        let prepared = match case {
            Case::NotFound => &self.not_found,
            Case::UnknownHost => &self.unknown_host,
            Case::Misdirected => &self.misdirected,
            Case::Suspended => &self.suspended,
            Case::MethodNotAllowed => &self.method_not_allowed,
            Case::BadRequest => &self.bad_request,
            Case::NotUtf8 => &self.not_utf8,
            Case::TooLarge => &self.too_large,
            Case::SlowBody => &self.slow_body,
            Case::Internal => &self.internal,
            Case::Unavailable => &self.unavailable,
            Case::Timeout => &self.timeout,
        };
        response(prepared, prepared.body.clone())
    }

    /// The answer to one who asks too often, with the time to wait in it.
    pub(crate) fn too_many(&self, wait: Duration) -> Response<Body> {
        let millis = wait.as_millis().max(1);
        let body = String::from_utf8_lossy(&self.too_many.body).replace(RETRY, &millis.to_string());
        let mut answer = response(&self.too_many, body.into());
        let seconds = u64::try_from(millis.div_ceil(1000)).unwrap_or(u64::MAX);
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        answer
    }
}

fn response(prepared: &Prepared, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::bytes(body));
    *response.status_mut() = prepared.status;
    *response.headers_mut() = prepared.headers.clone();
    response
}

fn prepare(case: &'static str, answer: &Answer) -> Result<Prepared, EdgeError> {
    let wrong = |reason: String| EdgeError::Answer { case, reason };
    let status = StatusCode::from_u16(answer.status)
        .ok()
        .filter(|status| (200..600).contains(&status.as_u16()))
        .ok_or_else(|| wrong(format!("status {} is not in 200-599", answer.status)))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| wrong(format!("`{name}` is no header name")))?;
        let value = HeaderValue::from_str(value)
            .map_err(|_| wrong(format!("`{value}` is no header value")))?;
        headers.insert(name, value);
    }
    Ok(Prepared { status, headers, body: Bytes::copy_from_slice(answer.body.as_bytes()) })
}
