//! Answers that carry a file.

use tessera_sdk::http::{Answer, Response, ResponseBody};

/// Spec: client-server API, Content repository.
const POLICY: &str = "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; \
                      style-src 'unsafe-inline'; object-src 'self';";

/// A file, and who may keep it.
#[derive(Debug)]
pub(crate) struct Served<'a> {
    pub(crate) blob: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) disposition: String,
    /// It was asked for without authentication: whoever stands between may keep it, too.
    pub(crate) open: bool,
    /// The request's `if-none-match`.
    pub(crate) none_match: Option<&'a str>,
}

/// The answer. What a media id names never changes, so it may be kept; for a day, in case it is taken out of sight.
pub(crate) fn answer(served: &Served<'_>) -> Answer {
    let tag = format!("\"{}\"", served.blob);
    let kept = if served.open { "public" } else { "private" };
    let mut headers: Vec<(String, String)> = [
        ("cache-control", format!("{kept}, max-age=86400, immutable")),
        ("content-security-policy", POLICY.to_owned()),
        ("cross-origin-resource-policy", "cross-origin".to_owned()),
        ("etag", tag.clone()),
        ("referrer-policy", "no-referrer".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("x-robots-tag", "noindex, nofollow, noarchive, noimageindex".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let known = served.none_match.is_some_and(|header| {
        header.split(',').any(|known| ["*", &tag].contains(&known.trim().trim_start_matches("W/")))
    });
    if known {
        return Answer::response(Response { status: 304, headers, body: ResponseBody::None });
    }
    headers.push(("content-type".to_owned(), with_charset(served.content_type)));
    headers.push(("content-disposition".to_owned(), served.disposition.clone()));
    let body = ResponseBody::Blob(served.blob.to_owned());
    Answer::response(Response { status: 200, headers, body })
}

/// Text without a charset is UTF-8, which is what browsers would not guess.
fn with_charset(content_type: &str) -> String {
    let lower = content_type.to_ascii_lowercase();
    if lower.starts_with("text/") && !lower.contains("charset") {
        return format!("{content_type}; charset=utf-8");
    }
    content_type.to_owned()
}
