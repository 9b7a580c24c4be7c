//! One request to the outside.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use futures::StreamExt;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method};
use reqwest::{Body, Response, Url};
use tessera_blobs::{BlobError, BlobId, Blobs, Range};
use tessera_engine::{FetchBody, FetchError, FetchGrants, FetchRequest, FetchResponse};

use crate::fetch::FetchClient;
use crate::fetch::client::Place;
use crate::fetch::guard::refusal;

pub(crate) async fn send(
    fetch: &FetchClient,
    request: FetchRequest,
    grants: &FetchGrants,
    blobs: &Blobs,
) -> Result<FetchResponse, FetchError> {
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| FetchError::Invalid(format!("`{}` is no method", request.method)))?;
    // A tunnel would lead past the grants; a trace would show what the host adds.
    if [Method::CONNECT, Method::TRACE].contains(&method) {
        return Err(FetchError::Invalid(format!("the method {method} is not sent")));
    }
    let mut url = url(&request.url)?;
    tracing::Span::current().record("host", url.host_str());
    granted(&url, grants)?;
    detour_granted(&url, request.connect_to.as_deref(), request.server_name.as_deref(), grants)?;
    let mut headers = headers(request.headers)?;
    let place =
        place(fetch, &mut url, &mut headers, request.connect_to, request.server_name).await?;
    if place.is_none() {
        literal_allowed(fetch, &url)?;
    }
    let client = fetch.clients.of(place)?;
    let mut outgoing = client.request(method, url);
    match request.body {
        FetchBody::None => {}
        FetchBody::Bytes(bytes) => outgoing = outgoing.body(bytes),
        FetchBody::Blob(id) => {
            let (body, length) = from_blob(&id, blobs).await?;
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            outgoing = outgoing.body(body);
        }
    }
    let response = outgoing.headers(headers).send().await.map_err(failed)?;
    answer(response, request.max_bytes, request.into_blob, blobs).await
}

fn url(text: &str) -> Result<Url, FetchError> {
    let invalid = |reason: &str| FetchError::Invalid(format!("the URL {reason}"));
    let url = Url::parse(text).map_err(|error| invalid(&format!("is malformed: {error}")))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(invalid("is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("holds a user or a password"));
    }
    if !url.has_host() {
        return Err(invalid("has no host"));
    }
    Ok(url)
}

fn granted(url: &Url, grants: &FetchGrants) -> Result<(), FetchError> {
    let (scheme, host) = (url.scheme(), url.host_str().unwrap_or(""));
    let port = url.port_or_known_default();
    if grants.origins.iter().any(|origin| origin.matches(scheme, host, port)) {
        return Ok(());
    }
    Err(FetchError::Refused(format!("{scheme}://{host} is not granted ([grants] fetch)")))
}

/// A detour must not lead past the grants: what proves who answers is the certificate, so another name in it needs a
/// grant of its own; and without TLS nothing proves it, so another place does.
fn detour_granted(
    url: &Url,
    connect_to: Option<&str>,
    server_name: Option<&str>,
    grants: &FetchGrants,
) -> Result<(), FetchError> {
    let scheme = url.scheme();
    let default = url.port_or_known_default().unwrap_or(443);
    let place = connect_to.map(|text| split(text, default)).transpose()?;
    let port = place.as_ref().map_or(default, |(_, port)| *port);
    let other = match (scheme, place) {
        ("https", _) => server_name.map(str::to_owned),
        (_, place) => place.map(|(host, _)| host),
    };
    let Some(host) = other.filter(|host| Some(host.as_str()) != url.host_str()) else {
        return Ok(());
    };
    if grants.origins.iter().any(|origin| origin.matches(scheme, &host, Some(port))) {
        return Ok(());
    }
    Err(FetchError::Refused(format!("{scheme}://{host}:{port} is not granted ([grants] fetch)")))
}

/// Headers of one request.
const HEADERS_MAX: usize = 256;
/// What speaks of the connection, or of how the body is sent: the host's to set.
const OURS: [HeaderName; 8] =
    [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
const OURS_TOO: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];

fn headers(list: Vec<(String, String)>) -> Result<HeaderMap, FetchError> {
    if list.len() > HEADERS_MAX {
        return Err(FetchError::Invalid(format!("more than {HEADERS_MAX} headers")));
    }
    let mut headers = HeaderMap::with_capacity(list.len());
    for (name, value) in list {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| FetchError::Invalid(format!("`{name}` is no header name")))?;
        if OURS.contains(&parsed) || OURS_TOO.contains(&parsed.as_str()) {
            return Err(FetchError::Invalid(format!("the header `{name}` is the host's to set")));
        }
        let value = HeaderValue::from_str(&value)
            .map_err(|_| FetchError::Invalid(format!("the header `{name}` cannot be sent")))?;
        headers.append(parsed, value);
    }
    Ok(headers)
}

/// Where to connect, if not to where the URL points. The URL then gets the name for TLS and the port to connect to, and
/// `Host` keeps what was asked for.
async fn place(
    fetch: &FetchClient,
    url: &mut Url,
    headers: &mut HeaderMap,
    connect_to: Option<String>,
    server_name: Option<String>,
) -> Result<Option<Place>, FetchError> {
    if connect_to.is_none() && server_name.is_none() {
        return Ok(None);
    }
    let asked = url.host_str().unwrap_or("").to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let authority = match url.port() {
        Some(port) => format!("{asked}:{port}"),
        None => asked.clone(),
    };
    let (host, port) = match &connect_to {
        Some(text) => split(text, port)?,
        None => (asked.trim_matches(['[', ']']).to_owned(), port),
    };
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), port))
        .await
        .map_err(|error| FetchError::Unreachable(format!("{host}: {error}")))?
        .collect();
    let mut addresses = fetch
        .guard
        .filter(&host, found)
        .map_err(|refused| FetchError::Refused(refused.to_string()))?;
    if addresses.is_empty() {
        return Err(FetchError::Unreachable(format!("{host} has no address")));
    }
    addresses.sort();

    // Without TLS there is no certificate to carry another name.
    let name = server_name.filter(|_| url.scheme() == "https").unwrap_or_else(|| asked.clone());
    let invalid = || FetchError::Invalid(format!("`{name}` is no name of a server"));
    url.set_host(Some(&name)).map_err(|_| invalid())?;
    url.set_port(Some(port)).map_err(|()| invalid())?;
    let name = url.host_str().unwrap_or("").to_owned();
    if let Ok(literal) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
        // An address is never looked up, so it cannot stand for another one.
        if !addresses.iter().any(|address| address.ip() == literal) {
            return Err(FetchError::Invalid(format!(
                "the certificate of {name} cannot be asked of {host}"
            )));
        }
    }
    let host = HeaderValue::from_str(&authority).map_err(|_| invalid())?;
    headers.insert(HOST, host);
    Ok(Some(Place { disguised: name != asked, name, addresses }))
}

/// `host:port`, `host`, `[v6]:port` or `[v6]`.
fn split(text: &str, default: u16) -> Result<(String, u16), FetchError> {
    let invalid = || FetchError::Invalid(format!("connect-to `{text}` is not `host:port`"));
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(invalid)?;
            (host, port.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(invalid());
    }
    let port = port.map(|port| port.parse().map_err(|_| invalid())).transpose()?;
    Ok((host.to_owned(), port.unwrap_or(default)))
}

/// An address in the URL is never looked up, so the resolver's guard does not see it.
fn literal_allowed(fetch: &FetchClient, url: &Url) -> Result<(), FetchError> {
    let host = url.host_str().unwrap_or("");
    let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() else { return Ok(()) };
    let found = vec![SocketAddr::new(address, 0)];
    match fetch.guard.filter(host, found) {
        Ok(_) => Ok(()),
        Err(refused) => Err(FetchError::Refused(refused.to_string())),
    }
}

async fn from_blob(id: &str, blobs: &Blobs) -> Result<(Body, u64), FetchError> {
    let blob: BlobId = id.parse().map_err(|error| store("body", &error))?;
    let reader = blobs.open(blob, Range::default()).await.map_err(|error| store("body", &error))?;
    let length = reader.left();
    let chunks = reader.into_stream().map(|chunk| chunk.map_err(io::Error::other));
    Ok((Body::wrap_stream(chunks), length))
}

fn store(what: &str, error: &BlobError) -> FetchError {
    match error {
        BlobError::TooLarge { .. } | BlobError::Quota { .. } => FetchError::TooLarge,
        _ => FetchError::Invalid(format!("{what}: {error}")),
    }
}

async fn answer(
    response: Response,
    max_bytes: u64,
    into_blob: bool,
    blobs: &Blobs,
) -> Result<FetchResponse, FetchError> {
    if response.content_length().is_some_and(|length| length > max_bytes) {
        return Err(FetchError::TooLarge);
    }
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .filter_map(|(name, value)| {
            let value = std::str::from_utf8(value.as_bytes()).ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        })
        .collect();
    let body = if into_blob {
        to_blob(response, max_bytes, blobs).await?
    } else {
        to_bytes(response, max_bytes).await?
    };
    Ok(FetchResponse { status, headers, body })
}

async fn to_bytes(mut response: Response, max_bytes: u64) -> Result<FetchBody, FetchError> {
    let mut all = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if (all.len() as u64).saturating_add(chunk.len() as u64) > max_bytes {
            return Err(FetchError::TooLarge);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(FetchBody::Bytes(all.into()))
}

async fn to_blob(
    mut response: Response,
    max_bytes: u64,
    blobs: &Blobs,
) -> Result<FetchBody, FetchError> {
    let mut writer = blobs.writer(Some(max_bytes));
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        writer.write(chunk).await.map_err(|error| store("answer", &error))?;
    }
    let id = writer.finish().await.map_err(|error| store("answer", &error))?;
    Ok(FetchBody::Blob(id.to_string()))
}

fn failed(error: reqwest::Error) -> FetchError {
    if let Some(refused) = refusal(&error) {
        return FetchError::Refused(refused.to_string());
    }
    if error.is_timeout() {
        return FetchError::Timeout;
    }
    // Without the URL: its query may hold a secret, and the plug-in knows it.
    let error = error.without_url();
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    if error.is_builder() { FetchError::Invalid(text) } else { FetchError::Unreachable(text) }
}
