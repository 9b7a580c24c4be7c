//! Fetching pages.

use tessera_sdk::clock;
use tessera_sdk::fetch::{self, Body};
use tessera_sdk::matrix::{Error, ErrorCode};
use url::Url;

use super::target;
use crate::config::Config;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// Time of one request at most, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;

/// What was fetched.
#[derive(Debug)]
pub(crate) struct Got {
    /// Where it was at last.
    pub(crate) url: Url,
    /// Type and subtype, in lower case; empty if the server does not say.
    pub(crate) essence: String,
    pub(crate) charset: Option<String>,
    pub(crate) bytes: Vec<u8>,
}

/// Fetches a URL before `until_ms` (milliseconds since the Unix epoch). Each step of a redirect is held against the operator's list, and by the host against its guard.
///
/// # Errors
/// `M_FORBIDDEN` for what must not be fetched, 502 for what cannot be.
pub(crate) fn get(url: &Url, accept: &str, until_ms: u64, config: &Config) -> Result<Got, Error> {
    let mut url = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let left = until_ms.saturating_sub(clock::now_ms()).min(TIMEOUT_MS);
        if left == 0 {
            return Err(unreachable("the page did not answer in time"));
        }
        let timeout_ms = u32::try_from(left).unwrap_or(u32::MAX);
        let response = fetch::send(&request(&url, accept, timeout_ms, config)).map_err(failed)?;
        let header = |name: &str| {
            let mut headers = response.headers.iter();
            headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        match response.status {
            200..=299 => {
                let kind = header("content-type").map_or("", String::as_str);
                let (essence, rest) = kind.split_once(';').unwrap_or((kind, ""));
                let charset = rest.split(';').find_map(|pair| {
                    let (name, value) = pair.split_once('=')?;
                    let value = value.trim().trim_matches('"');
                    name.trim().eq_ignore_ascii_case("charset").then(|| value.to_owned())
                });
                let essence = essence.trim().to_ascii_lowercase();
                let bytes = match response.body {
                    Body::Bytes(bytes) => bytes,
                    Body::None | Body::Blob(_) => Vec::new(),
                };
                return Ok(Got { url, essence, charset, bytes });
            }
            301 | 302 | 303 | 307 | 308 => {
                let to = header("location").and_then(|to| url.join(to).ok());
                let to = to.ok_or_else(|| unreachable("the page leads nowhere"))?;
                url = target::parse(to.as_str())
                    .map_err(|_| unreachable("the page leads to no page"))?;
                target::allowed(&url, config)?;
            }
            status => return Err(unreachable(&format!("the page answered {status}"))),
        }
    }
    Err(unreachable("the page leads on and on"))
}

fn request(url: &Url, accept: &str, timeout_ms: u32, config: &Config) -> fetch::Request {
    let headers = [
        ("user-agent", "Tessera (preview of a link; like Twitterbot)"),
        ("accept", accept),
        ("accept-language", &config.url_preview_language),
    ];
    fetch::Request {
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        timeout_ms,
        max_bytes: config.url_preview_max_bytes,
        ..fetch::request("GET", url.as_str())
    }
}

/// 502 with what went wrong.
pub(crate) fn unreachable(why: &str) -> Error {
    Error::new(ErrorCode::Unknown, why).status(502)
}

fn failed(error: fetch::Error) -> Error {
    match error {
        // Without the reason: it would tell what is inside the operator's network.
        fetch::Error::Refused(_) => Error::forbidden("this page must not be fetched"),
        fetch::Error::Invalid(_) => Error::invalid_param("url is malformed"),
        fetch::Error::Timeout => unreachable("the page did not answer in time"),
        fetch::Error::Unreachable(_) => unreachable("the page cannot be reached"),
        fetch::Error::TooLarge => unreachable("the page is too large"),
    }
}
