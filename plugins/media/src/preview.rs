//! GET /_matrix/client/v1/media/preview_url, and the paths of old.
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url>

mod get;
mod page;
mod picture;
mod store;
mod target;
mod text;

use serde_json::{Map, Value};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::{cache, clock, digest, storage};

use self::get::Got;
use crate::config::{self, Config};

pub(crate) use self::store::sweep;

/// How long one request waits for another that fetches the same page, in milliseconds.
const LOCK_MS: u32 = 15_000;
/// How long a page and its pictures may take together, redirects included, in milliseconds: with the wait before it well below the
/// route's time, so that a slow page is answered for here and ends no instance.
const ALL_MS: u64 = 30_000;
/// How long a page that could not be fetched is left alone.
const FAILED_MS: u32 = 60_000;

/// # Errors
/// `M_UNRECOGNIZED` where previews are off, `M_MISSING_PARAM`, `M_INVALID_PARAM`, `M_FORBIDDEN` for what must not be fetched, 502 for what cannot be.
pub(crate) fn handle(request: &Request) -> Result {
    request.user()?;
    let config = config::checked()?;
    if !config.url_previews {
        return Err(Error::new(ErrorCode::Unrecognized, "this server makes no previews"));
    }
    let named = request.query("url").ok_or_else(|| Error::missing_param("url is missing"))?;
    let ts = request.query_as::<u64>("ts")?;
    let url = target::parse(named)?;
    target::allowed(&url, &config)?;
    let hash = digest::sha256(url.as_str().as_bytes());
    if let Some(content) = store::find(&hash, ts)? {
        return Ok(Answer::raw_json(200, content.into_bytes()));
    }
    storage::lock(&[format!("preview:{hash}")], LOCK_MS);
    if let Some(content) = store::find(&hash, ts)? {
        return Ok(Answer::raw_json(200, content.into_bytes()));
    }
    let failed = format!("preview-failed:{hash}");
    if let Some(before) = cache::get(&failed) {
        let reason = String::from_utf8_lossy(&before).into_owned();
        return Err(get::unreachable(&reason));
    }
    let content = match made(&hash, &url, &config) {
        Ok(content) => content,
        Err(error) => {
            if error.http_status() == 502 {
                cache::put(&failed, error.message().as_bytes(), FAILED_MS, &[]);
            }
            return Err(error);
        }
    };
    Ok(Answer::raw_json(200, content.into_bytes()))
}

/// Fetches a page and keeps what it says.
fn made(hash: &str, url: &url::Url, config: &Config) -> std::result::Result<String, Error> {
    let until_ms = clock::now_ms().saturating_add(ALL_MS);
    let got = get::get(
        url,
        "text/html, application/xhtml+xml, image/*;q=0.9, */*;q=0.1",
        until_ms,
        config,
    )?;
    let mut content = Map::new();
    let mut picture = None;
    if got.essence.starts_with("image/") {
        picture = picture::store(&got);
    } else if ["text/html", "application/xhtml+xml", ""].contains(&got.essence.as_str()) {
        let page = page::read(&text::decode(&got), &got.url);
        content = page.properties;
        picture = page.pictures.iter().find_map(|url| fetched(url, until_ms, config));
    }
    content.retain(|name, _| !name.starts_with("og:image"));
    if let Some(picture) = &picture {
        content.extend(picture.properties());
    }
    let content = Value::Object(content).to_string();
    let expires_ms =
        clock::now_ms().saturating_add(config.url_preview_minutes.saturating_mul(60_000));
    store::keep(hash, expires_ms, &content, picture.as_ref(), config)?;
    Ok(content)
}

/// A page's picture; without one the preview is still a preview.
fn fetched(url: &url::Url, until_ms: u64, config: &Config) -> Option<picture::Picture> {
    target::allowed(url, config).ok()?;
    let got: Got = get::get(url, "image/*", until_ms, config).ok()?;
    got.essence.starts_with("image/").then(|| picture::store(&got)).flatten()
}
