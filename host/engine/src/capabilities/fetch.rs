//! `tessera:host/fetch`: the grants here, the client behind [`Fetch`].

use std::time::Duration;

use tessera_blobs::Blobs;
use tessera_manifest::OriginPattern;
use tracing::Instrument as _;

use super::log;
use crate::{api::BoxFuture, bindings::tessera::host::fetch as wit, state::State, trace};

/// An outbound HTTP client with the address guard.
pub trait Fetch: Send + Sync + 'static {
    /// Sends one request. Redirects are not followed. Blob bodies are read from and written to `blobs`.
    ///
    /// The implementation checks the URL against [`FetchGrants::origins`] and every address it connects to,
    /// `connect_to` included, against its guard.
    fn send<'a>(
        &'a self,
        request: FetchRequest,
        grants: &'a FetchGrants,
        blobs: &'a Blobs,
    ) -> BoxFuture<'a, Result<FetchResponse, FetchError>>;
}

/// What a plug-in may reach.
#[derive(Debug, Clone, Default)]
pub struct FetchGrants {
    /// None: nothing.
    pub origins: Vec<OriginPattern>,
}

/// A body, going out or coming in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchBody {
    /// No body.
    None,
    /// In memory.
    Bytes(Vec<u8>),
    /// The id of a blob of the tenant.
    Blob(String),
}

/// One request; caps are already resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// `GET`, `POST`, ….
    pub method: String,
    /// Absolute, http or https.
    pub url: String,
    /// As the guest gave them.
    pub headers: Vec<(String, String)>,
    /// What to send.
    pub body: FetchBody,
    /// For all of it: names, connection, answer and its body.
    pub timeout: Duration,
    /// Cap on the answer's body in bytes.
    pub max_bytes: u64,
    /// `host:port` to connect to in place of the URL's authority.
    pub connect_to: Option<String>,
    /// Name that the certificate must carry in place of the URL's host.
    pub server_name: Option<String>,
    /// The answer's body goes into a blob.
    pub into_blob: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchResponse {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// What came.
    pub body: FetchBody,
}

/// Why there is no answer; the cases of the WIT error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Not granted, or guarded.
    #[error("refused: {0}")]
    Refused(String),
    /// Malformed.
    #[error("invalid: {0}")]
    Invalid(String),
    /// No answer in time.
    #[error("timed out")]
    Timeout,
    /// Name, connection or TLS failed.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Over the cap.
    #[error("the answer is too large")]
    TooLarge,
}

impl wit::Host for State {
    async fn send(
        &mut self,
        request: wit::Request,
    ) -> wasmtime::Result<Result<wit::Response, wit::Error>> {
        self.enter()?;
        if let Some(reason) = self.shadow_refuses("request") {
            return Ok(Err(wit::Error::Refused(reason)));
        }
        let caps = &self.caps;
        if caps.fetch.origins.is_empty() {
            let reason = "this plug-in has no grant to fetch ([grants] fetch)";
            log::refused(self, "fetch", reason);
            return Ok(Err(wit::Error::Refused(reason.to_owned())));
        }
        if let Err(wait) = caps.shared.account.fetch() {
            return Ok(Err(wit::Error::Unreachable(format!(
                "quota of outbound requests used up, try again in {} s",
                wait.as_secs().saturating_add(1)
            ))));
        }
        let limits = &caps.limits;
        let timeout = match request.timeout_ms {
            0 => limits.fetch_time,
            ms => Duration::from_millis(ms.into()).min(limits.fetch_time),
        };
        let max_bytes = match request.max_bytes {
            0 => limits.fetch,
            bytes => bytes.min(limits.fetch),
        };
        let request = FetchRequest {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: match request.body {
                wit::Body::None => FetchBody::None,
                wit::Body::Bytes(bytes) => FetchBody::Bytes(bytes),
                wit::Body::Blob(id) => FetchBody::Blob(id),
            },
            timeout,
            max_bytes,
            connect_to: request.connect_to,
            server_name: request.server_name,
            into_blob: request.into_blob,
        };
        let host = request.url.split('/').nth(2).unwrap_or_default();
        let span = tracing::info_span!(target: trace::TARGET, "fetch", host);
        let sent = caps.shared.fetch.send(request, &caps.fetch, &caps.shared.blobs);
        let answer = sent.instrument(span).await;
        // An outside server that fails is told to the guest alone.
        match &answer {
            Err(FetchError::Refused(reason) | FetchError::Invalid(reason)) => {
                log::refused(self, "fetch", reason);
            }
            Err(FetchError::Timeout) => log::refused(self, "fetch", "no answer in time"),
            Err(FetchError::TooLarge) => log::refused(self, "fetch", "an answer over the cap"),
            Ok(_) | Err(FetchError::Unreachable(_)) => {}
        }
        Ok(match answer {
            Ok(response) => Ok(wit::Response {
                status: response.status,
                headers: response.headers,
                body: match response.body {
                    FetchBody::None => wit::Body::None,
                    FetchBody::Bytes(bytes) => wit::Body::Bytes(bytes),
                    FetchBody::Blob(id) => wit::Body::Blob(id),
                },
            }),
            Err(FetchError::Refused(text)) => Err(wit::Error::Refused(text)),
            Err(FetchError::Invalid(text)) => Err(wit::Error::Invalid(text)),
            Err(FetchError::Timeout) => Err(wit::Error::Timeout),
            Err(FetchError::Unreachable(text)) => Err(wit::Error::Unreachable(text)),
            Err(FetchError::TooLarge) => Err(wit::Error::TooLarge),
        })
    }
}
