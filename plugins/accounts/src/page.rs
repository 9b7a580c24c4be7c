//! The few pages that people see in a browser.

use tessera_sdk::http::{Answer, Response, ResponseBody};

use crate::mails::escape;

/// A page with a title and a body of HTML that is already escaped. Nothing in it runs, and nobody frames it.
pub fn page(status: u16, title: &str, body: &str) -> Answer {
    page_with(status, title, body, "")
}

/// As [`page`], where `sources` allows scripts and frames in the words of a content security policy.
pub fn page_with(status: u16, title: &str, body: &str, sources: &str) -> Answer {
    let title = escape(title);
    let html = format!(
        "<!doctype html><html><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>body{{font-family:sans-serif;max-width:32em;margin:3em auto;padding:0 1em}}\
         button{{font-size:1em;padding:.5em 1em}}</style></head><body><h1>{title}</h1>{body}</body></html>"
    );
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; {sources}"
    );
    let policy = policy.trim_end_matches("; ");
    let headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", policy),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ];
    Answer::response(Response {
        status,
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: ResponseBody::Bytes(html.into_bytes()),
    })
}

/// Sends the browser elsewhere.
pub fn redirect(to: &str) -> Answer {
    let headers =
        [("location", to), ("referrer-policy", "no-referrer"), ("cache-control", "no-store")];
    Answer::response(Response {
        status: 302,
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: ResponseBody::None,
    })
}
