//! Previews of pages, from a network of our own.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tessera_sdk::blobs;
use tessera_sdk::fetch::{Body, Error, Response};
use tessera_sdk::services::thumbnails::{Picture, Thumbnail};

use crate::world::*;

const PAGE: &str = r#"<html><head><title>The Rock (1996)</title><meta property="og:title" content="The Rock" />
    <meta property="og:image" content="test.png" /><meta property="og:image:width" content="9999" /></head></html>"#;

/// The URLs that were asked for.
type Asked = Arc<Mutex<Vec<String>>>;

fn respond(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<Response, Error> {
    let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Ok(Response { status, headers, body: Body::Bytes(body.to_vec()) })
}

fn network(server: &Server) -> Asked {
    let asked = Asked::default();
    let seen = asked.clone();
    server.host.services(|services| {
        services.fetch = Arc::new(move |request| {
            seen.lock().unwrap().push(request.url.clone());
            assert!(request.max_bytes == 1_000_000 && request.timeout_ms > 0 && !request.into_blob);
            let html = [("Content-Type", "text/html; charset=utf-8")];
            match request.url.as_str() {
                "http://a.example/page" => respond(200, &html, PAGE.as_bytes()),
                "http://a.example/test.png" => {
                    respond(200, &[("content-type", "image/png")], b"png")
                }
                "http://a.example/moved" => respond(302, &[("location", "/page")], b""),
                "http://a.example/round" => respond(301, &[("location", "/round")], b""),
                "http://a.example/inside" => {
                    respond(302, &[("location", "http://10.0.0.1/x")], b"")
                }
                "http://a.example/file" => respond(302, &[("location", "file:///etc/passwd")], b""),
                "http://a.example/noimage" => respond(
                    200,
                    &html,
                    b"<title>T</title><meta property=og:image content=gone.png>",
                ),
                "http://a.example/pdf" => {
                    respond(200, &[("content-type", "application/pdf")], b"%PDF")
                }
                "http://10.0.0.1/x" => Err(Error::Refused("10.0.0.1 is private".to_owned())),
                url if url.starts_with("http://many.example/") => {
                    let n: u8 = url.rsplit('/').next().unwrap().parse().unwrap();
                    respond(
                        200,
                        &[("content-type", "image/png")],
                        &vec![n; 4_000 + usize::from(n) * 10],
                    )
                }
                "http://slow.example/" => Err(Error::Timeout),
                "http://large.example/" => Err(Error::TooLarge),
                _ => respond(404, &html, b"no"),
            }
        });
        services.make_thumbnails = Arc::new(|_, blob, wishes| {
            assert_eq!((wishes[0].width, wishes[0].height, wishes[0].animated), (800, 600, false));
            let size = blobs::stat(blob).unwrap().size;
            // A large one becomes a small one.
            let blob = match size {
                0..1000 => blob.to_owned(),
                _ => blobs::put(&vec![1; size as usize / 10]).unwrap(),
            };
            let small = Thumbnail {
                size: blobs::stat(&blob).unwrap().size,
                blob,
                content_type: "image/png".to_owned(),
                width: 279,
                height: 129,
                animated: false,
            };
            Ok(Picture {
                width: 2790,
                height: 1290,
                content_type: "image/png".to_owned(),
                thumbnails: vec![small],
            })
        });
    });
    asked
}

fn preview(server: &Server, url: &str) -> Got {
    server.send(server.host.request("GET", "preview").user(BOB).query("url", url).build())
}

#[test]
fn page_is_previewed_with_its_picture() {
    let server = server();
    let asked = network(&server);
    let found = preview(&server, "http://a.example/page#top").answer.ok();
    assert_eq!(found["og:title"], "The Rock");
    assert_eq!(found["matrix:image:size"], 3);
    assert_eq!((&found["og:image:width"], &found["og:image:height"]), (&json!(279), &json!(129)));
    let id = found["og:image"].as_str().unwrap().strip_prefix("mxc://hs1/").unwrap().to_owned();
    let picture = server.download(&id);
    assert_eq!((picture.bytes(), picture.header("content-type")), (b"png".to_vec(), "image/png"));
    // Kept: nobody fetches it again while it is good.
    assert_eq!(preview(&server, "http://a.example/page").answer.ok(), found);
    assert_eq!(asked.lock().unwrap().len(), 2);
    server.host.advance(61 * 60_000);
    assert_ne!(
        preview(&server, "http://a.example/page").answer.ok()["og:image"],
        found["og:image"]
    );
    assert_eq!(asked.lock().unwrap().len(), 4);
    // The one of old is told to who asks for that time.
    let old = server.host.request("GET", "preview").user(BOB).query("url", "http://a.example/page");
    let old = old.query("ts", &(server.host.now_ms() - 60 * 60_000).to_string());
    assert_eq!(server.send(old.build()).answer.ok(), found);
    server.counts_hold();
    server.host.advance(30 * 86_400_000);
    server.sweep();
    assert_eq!(server.download(&id).status(), 404);
    let left: Vec<(String,)> = server.rows("SELECT content FROM media_previews");
    assert!(left.is_empty());
}

#[test]
fn redirects_are_followed_as_far_as_is_good() {
    let server = server();
    let asked = network(&server);
    assert_eq!(preview(&server, "http://a.example/moved").answer.ok()["og:title"], "The Rock");
    asked.lock().unwrap().clear();
    assert_eq!(preview(&server, "http://a.example/round").error(), (502, "M_UNKNOWN".to_owned()));
    assert_eq!(asked.lock().unwrap().len(), 6);
    // Not again at once.
    assert_eq!(preview(&server, "http://a.example/round").error().0, 502);
    assert_eq!(asked.lock().unwrap().len(), 6);
    let inside = preview(&server, "http://a.example/inside");
    assert_eq!(inside.error(), (403, "M_FORBIDDEN".to_owned()));
    assert!(!inside.answer.json().to_string().contains("private"), "tells nothing of the network");
    assert_eq!(preview(&server, "http://a.example/file").error().0, 502);
}

#[test]
fn what_fails_says_so() {
    let server = server();
    network(&server);
    for url in ["http://slow.example/", "http://large.example/", "http://a.example/nothing"] {
        assert_eq!(preview(&server, url).error(), (502, "M_UNKNOWN".to_owned()), "{url}");
    }
    for url in ["ftp://a.example/", "nonsense", "http://user:pw@a.example/", "file:///etc/passwd"] {
        assert_eq!(preview(&server, url).error(), (400, "M_INVALID_PARAM".to_owned()), "{url}");
    }
    let without = server.send(server.host.request("GET", "preview").user(BOB).build());
    assert_eq!(without.error(), (400, "M_MISSING_PARAM".to_owned()));
}

#[test]
fn page_without_its_picture_is_still_previewed() {
    let server = server();
    network(&server);
    let found = preview(&server, "http://a.example/noimage").answer.ok();
    assert_eq!(found, json!({ "og:title": "T" }));
    assert_eq!(preview(&server, "http://a.example/pdf").answer.ok(), json!({}));
    let picture = preview(&server, "http://a.example/test.png").answer.ok();
    assert!(picture["og:image"].as_str().unwrap().starts_with("mxc://"));
}

#[test]
fn operator_says_what_is_previewed() {
    let off = server_with(&json!({ "url-previews": false }));
    network(&off);
    assert_eq!(preview(&off, "http://a.example/page").error(), (404, "M_UNRECOGNIZED".to_owned()));
    for pattern in ["a.example", "*.example", "http://a.example/pa", "A.example"] {
        let server = server_with(&json!({ "url-preview-blocklist": [pattern] }));
        let asked = network(&server);
        let error = preview(&server, "http://a.example/page").error();
        assert_eq!(error, (403, "M_FORBIDDEN".to_owned()), "{pattern}");
        assert!(asked.lock().unwrap().is_empty());
    }
    // A redirect leads to no page that is blocked, a page to no such picture.
    let server = server_with(
        &json!({ "url-preview-blocklist": ["http://a.example/page", "http://a.example/test"] }),
    );
    network(&server);
    assert_eq!(preview(&server, "http://a.example/moved").error().0, 403);
    let server = server_with(&json!({ "url-preview-blocklist": ["http://a.example/test"] }));
    network(&server);
    let found: Value = preview(&server, "http://a.example/page").answer.ok();
    assert!(found.get("og:image").is_none());
}

#[test]
fn slow_pages_and_pictures_have_an_end() {
    let server = server();
    let asked = Asked::default();
    let seen = asked.clone();
    let clock = server.host.clone();
    server.host.services(|services| {
        services.fetch = Arc::new(move |request| {
            seen.lock().unwrap().push(request.url.clone());
            // Each takes all the time that it has.
            clock.advance(u64::from(request.timeout_ms));
            let page = "<title>T</title><meta property=og:image content=1.png><meta name=twitter:image content=2.png>\
                        <link rel=icon href=3.png>";
            if request.url.ends_with("/page") {
                return respond(200, &[("content-type", "text/html")], page.as_bytes());
            }
            respond(302, &[("location", "/more.png")], b"")
        });
    });
    let begun = server.host.now_ms();
    assert_eq!(preview(&server, "http://a.example/page").answer.ok(), json!({ "og:title": "T" }));
    assert_eq!(asked.lock().unwrap().len(), 3);
    assert_eq!(server.host.now_ms() - begun, 30_000);
}

#[test]
fn large_picture_is_kept_small() {
    let server = server();
    network(&server);
    let found = preview(&server, "http://many.example/0").answer.ok();
    assert_eq!(found["matrix:image:size"], 400);
    let whole = tessera_sdk::digest::sha256(&[0; 4_000]);
    assert!(blobs::stat(&whole).is_err(), "nobody needs the whole");
    server.counts_hold();
}

#[test]
fn previews_take_no_more_than_they_may() {
    let server = server_with(&json!({ "url-preview-total-bytes": 2_500 }));
    network(&server);
    let mut pictures = Vec::new();
    for n in 0..20 {
        let found = preview(&server, &format!("http://many.example/{n}")).answer.ok();
        pictures.push(found["og:image"].as_str().unwrap().rsplit('/').next().unwrap().to_owned());
        server.host.advance(1);
        let taken: Vec<(i64,)> = server.rows("SELECT bytes FROM media_usage WHERE user_id = ''");
        assert!(taken[0].0 <= 2_500, "{taken:?}");
    }
    // The oldest went.
    assert_eq!(server.download(&pictures[0]).status(), 404);
    assert_eq!(server.download(&pictures[19]).status(), 200);
    let counted: Vec<(i64, i64)> =
        server.rows("SELECT bytes, files FROM media_usage WHERE user_id = ''");
    let real: Vec<(i64, i64)> = server.rows(
        "SELECT (SELECT sum(size) FROM media_files WHERE preview = TRUE) + \
         (SELECT sum(size) FROM media_previews) AS bytes, (SELECT count(*) FROM media_files) AS files",
    );
    assert_eq!(counted, real);
    server.counts_hold();
}
