//! Uploads, downloads, thumbnails, previews of pages.
//! Spec: client-server API, Content repository.

use std::io::Cursor;

use axum::{
    Router,
    http::{StatusCode, header},
    routing::get,
};
use image::{DynamicImage, GenericImageView, ImageFormat, Rgb, RgbImage};
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};
use tessera_tests::{
    api::{Answer, Session},
    calls,
};
use tokio::net::TcpListener;

use super::{Front, accounts};

/// A picture of two colours; noise enough that no two tests have the same bytes.
fn picture(width: u32, height: u32, seed: &str) -> Vec<u8> {
    let sum = seed.bytes().fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    let mut picture = RgbImage::from_fn(width, height, |x, _| {
        if x < width / 2 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) }
    });
    for (n, byte) in seed.bytes().enumerate().take(width as usize) {
        picture.put_pixel(n as u32, 0, Rgb([byte, sum, 0]));
    }
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(picture).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// An answer with its bytes.
struct Got {
    answer: Answer,
    bytes: Vec<u8>,
}

impl Got {
    fn status(&self) -> u16 {
        self.answer.status
    }

    fn header(&self, name: &str) -> &str {
        self.answer.header(name)
    }

    #[track_caller]
    fn error(&self, status: u16, errcode: &str) {
        assert_eq!(
            (self.answer.status, self.answer.errcode()),
            (status, errcode),
            "{:?}",
            self.answer
        );
    }
}

/// A request whose body is no JSON, or whose answer is none; at the next node.
async fn send(
    front: &Front,
    method: Method,
    path: &str,
    user: Option<&Session>,
    headers: &[(&str, &str)],
    body: Option<Vec<u8>>,
) -> Got {
    let url = format!("{}{path}", front.base());
    let mut request = front.http.request(method.clone(), &url);
    if let Some(user) = user {
        request = request.header("authorization", format!("Bearer {}", user.token));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.body(body);
    }
    let response = request.send().await.unwrap();
    let (status, headers): (u16, HeaderMap) =
        (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.unwrap().to_vec();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let answer = Answer { status, headers, body };
    calls::note(&method, &url, &answer);
    Got { answer, bytes }
}

async fn fetch(front: &Front, path: &str, user: Option<&Session>) -> Got {
    send(front, Method::GET, path, user, &[], None).await
}

async fn try_upload(
    front: &Front,
    user: Option<&Session>,
    query: &str,
    kind: &str,
    bytes: Vec<u8>,
) -> Got {
    let path = format!("/_matrix/media/v3/upload{query}");
    send(front, Method::POST, &path, user, &[("content-type", kind)], Some(bytes)).await
}

/// `SERVER/ID` of what an answer names.
fn place(answer: &Answer) -> String {
    let uri = answer.body["content_uri"].as_str().unwrap_or_else(|| panic!("{answer:?}"));
    uri.strip_prefix("mxc://").unwrap().to_owned()
}

async fn upload(front: &Front, user: &Session, kind: &str, bytes: Vec<u8>) -> String {
    let got = try_upload(front, Some(user), "", kind, bytes).await;
    assert_eq!(got.status(), 200, "{:?}", got.answer);
    place(&got.answer)
}

#[tokio::test]
async fn file_is_uploaded_and_downloaded_by_another() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let text = front.name("text").into_bytes();
    let got =
        try_upload(&front, Some(&alice), "?filename=a%20b.txt", "text/plain", text.clone()).await;
    let at = place(&got.answer);
    for path in ["client/v1/media", "media/v3", "media/r0", "media/v1"] {
        let got = fetch(&front, &format!("/_matrix/{path}/download/{at}"), Some(&bob)).await;
        assert_eq!((got.status(), &got.bytes), (200, &text), "{path}");
        assert_eq!(got.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(got.header("content-disposition"), "inline; filename=\"a b.txt\"");
        assert!(got.header("content-security-policy").contains("sandbox"));
        assert_eq!(got.header("cross-origin-resource-policy"), "cross-origin");
        assert_eq!(got.header("access-control-allow-origin"), "*");
        let named = format!("/_matrix/{path}/download/{at}/%F0%9F%90%9F.txt");
        let got = fetch(&front, &named, Some(&bob)).await;
        assert_eq!(got.header("content-disposition"), "inline; filename*=utf-8''%F0%9F%90%9F.txt");
    }
    fetch(&front, &format!("/_matrix/client/v1/media/download/{at}"), None)
        .await
        .error(401, "M_MISSING_TOKEN");
    let open = fetch(&front, &format!("/_matrix/media/v3/download/{at}"), None).await;
    assert_eq!(open.bytes, text);
    for path in ["client/v1/media", "media/v3"] {
        for nothing in
            ["download/hs1/NOTTHERE", "download/hs1/NOTTHERE/x.txt", "download/hs1/..%2F..%2Fx"]
        {
            fetch(&front, &format!("/_matrix/{path}/{nothing}"), Some(&bob))
                .await
                .error(404, "M_NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn stretch_of_a_file_is_downloaded() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let bytes: Vec<u8> = front.name("x").bytes().cycle().take(300_000).collect();
    let at = upload(&front, &alice, "video/mp4", bytes.clone()).await;
    let path = format!("/_matrix/client/v1/media/download/{at}");
    let ask = [("range", "bytes=150000-150009")];
    let part = send(&front, Method::GET, &path, Some(&alice), &ask, None).await;
    assert_eq!((part.status(), part.bytes.as_slice()), (206, &bytes[150_000..150_010]));
    assert_eq!(part.header("content-range"), "bytes 150000-150009/300000");
    let whole = fetch(&front, &path, Some(&alice)).await;
    assert_eq!((whole.bytes == bytes, whole.header("accept-ranges")), (true, "bytes"));
    let known = [("if-none-match", whole.header("etag"))];
    let again = send(&front, Method::GET, &path, Some(&alice), &known, None).await;
    assert_eq!((again.status(), again.bytes.len()), (304, 0));
}

#[tokio::test]
async fn upload_is_refused() {
    let front = Front::get().await;
    try_upload(&front, None, "", "a/b", vec![1]).await.error(401, "M_MISSING_TOKEN");
    let alice = front.user("alice").await;
    let name = format!("?filename={}", "x".repeat(2000));
    try_upload(&front, Some(&alice), &name, "a/b", vec![1]).await.error(400, "M_INVALID_PARAM");
    let large = vec![7; (50 << 20) + 1];
    try_upload(&front, Some(&alice), "", "a/b", large).await.error(413, "M_TOO_LARGE");
}

#[tokio::test]
async fn media_id_is_made_first_and_filled_later() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let create =
        || front.request(Method::POST, "/_matrix/media/v1/create", Some(&alice.token), None);
    let made = create().await;
    assert_eq!(made.status, 200, "{made:?}");
    assert!(made.body["unused_expires_at"].is_u64());
    let at = place(&made);
    let path = format!("/_matrix/media/v3/upload/{at}");
    let download = format!("/_matrix/client/v1/media/download/{at}");
    fetch(&front, &format!("{download}?timeout_ms=0"), Some(&bob))
        .await
        .error(504, "M_NOT_YET_UPLOADED");
    let put = |user: Session, body: &'static [u8]| {
        let kind = [("content-type", "text/plain")];
        let (front, path) = (&front, &path);
        async move { send(front, Method::PUT, path, Some(&user), &kind, Some(body.to_vec())).await }
    };
    put(bob.clone(), b"not mine").await.error(403, "M_FORBIDDEN");
    // Who waits for it gets it as it comes, wherever that is.
    let (waited, filled) =
        tokio::join!(fetch(&front, &download, Some(&bob)), put(alice.clone(), b"at last"));
    assert_eq!((filled.status(), &filled.answer.body), (200, &json!({})));
    assert_eq!((waited.status(), waited.bytes.as_slice()), (200, &b"at last"[..]));
    put(alice.clone(), b"again").await.error(409, "M_CANNOT_OVERWRITE_MEDIA");
    let nobody = "/_matrix/media/v3/upload/hs1/NOTMADE";
    send(&front, Method::PUT, nobody, Some(&alice), &[], Some(vec![1]))
        .await
        .error(404, "M_NOT_FOUND");
    front.request(Method::POST, "/_matrix/media/v1/create", None, None).await.ok().unwrap_err();
}

#[tokio::test]
async fn picture_gets_thumbnails() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let at = upload(&front, &alice, "image/png", picture(400, 200, &front.name("p"))).await;
    for path in ["client/v1/media", "media/v3", "media/r0", "media/v1"] {
        let ask = |query: &str| format!("/_matrix/{path}/thumbnail/{at}?{query}");
        let got = fetch(&front, &ask("width=30&height=30&method=crop"), Some(&bob)).await;
        assert_eq!(got.status(), 200, "{:?}", got.answer);
        assert_eq!(got.header("content-type"), "image/jpeg");
        assert_eq!(got.header("content-disposition"), "inline; filename=\"thumbnail.jpeg\"");
        let small = image::load_from_memory(&got.bytes).unwrap();
        assert_eq!(small.dimensions(), (32, 32));
        assert!(small.get_pixel(4, 16).0[0] > 200 && small.get_pixel(28, 16).0[2] > 200);
        let got = fetch(&front, &ask("width=300&height=200"), Some(&bob)).await;
        assert_eq!(image::load_from_memory(&got.bytes).unwrap().dimensions(), (320, 160));
        // Never made larger.
        let got = fetch(&front, &ask("width=1000&height=1000&method=scale"), Some(&bob)).await;
        assert_eq!(image::load_from_memory(&got.bytes).unwrap().dimensions(), (400, 200));
        fetch(&front, &ask("width=30"), Some(&bob)).await.error(400, "M_MISSING_PARAM");
        fetch(&front, &ask("width=-1&height=0"), Some(&bob)).await.error(400, "M_INVALID_PARAM");
    }
    let path = format!("/_matrix/client/v1/media/thumbnail/{at}?width=30&height=30");
    fetch(&front, &path, None).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn what_is_no_picture_gets_no_thumbnail() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let whole = picture(64, 64, &front.name("torn"));
    let mut bomb = whole.clone();
    // A header that promises 30,000 by 30,000 pixels, with the sum that belongs to it.
    bomb[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let mut sum = u32::MAX;
    for byte in &bomb[12..29] {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
        }
    }
    bomb[29..33].copy_from_slice(&(!sum).to_be_bytes());
    let ask = |at: String| {
        format!("/_matrix/client/v1/media/thumbnail/{at}?width=32&height=32&method=crop")
    };
    for (bytes, status, code) in [
        (front.name("text").into_bytes(), 400, "M_UNKNOWN"),
        (whole[..whole.len() / 2].to_vec(), 400, "M_UNKNOWN"),
        (bomb, 413, "M_TOO_LARGE"),
    ] {
        let at = upload(&front, &alice, "image/png", bytes).await;
        for _ in 0..2 {
            fetch(&front, &ask(at.clone()), Some(&alice)).await.error(status, code);
        }
    }
    // The decoder goes on.
    let at = upload(&front, &alice, "image/png", whole).await;
    assert_eq!(fetch(&front, &ask(at), Some(&alice)).await.status(), 200);
}

#[tokio::test]
async fn configuration_tells_the_cap_for_uploads() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    for path in ["client/v1/media", "media/v3", "media/r0", "media/v1"] {
        let path = format!("/_matrix/{path}/config");
        let got = fetch(&front, &path, Some(&alice)).await;
        assert_eq!(got.answer.ok().unwrap(), json!({ "m.upload.size": 52_428_800 }));
        fetch(&front, &path, None).await.error(401, "M_MISSING_TOKEN");
    }
}

/// A page with a picture, on loopback.
async fn pages(picture: Vec<u8>) -> String {
    let html = "<html><head><title>The Rock (1996)</title><meta property=\"og:title\" content=\"The Rock\" />\
                <meta property=\"og:image\" content=\"test.png\" /></head></html>";
    let app = Router::new()
        .route("/page", get(move || async move { ([(header::CONTENT_TYPE, "text/html")], html) }))
        .route("/moved", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/page")]) }))
        .route(
            "/test.png",
            get(move || async move { ([(header::CONTENT_TYPE, "image/png")], picture) }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

#[tokio::test]
async fn page_is_previewed_with_its_picture() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let bytes = picture(279, 129, &front.name("page"));
    let site = pages(bytes.clone()).await;
    for path in ["client/v1/media", "media/v3", "media/r0", "media/v1"] {
        let ask = |query: &str| format!("/_matrix/{path}/preview_url?{query}");
        let found = fetch(&front, &ask(&format!("url={site}/moved")), Some(&alice)).await;
        let found = found.answer.ok().unwrap();
        assert_eq!(found["og:title"], "The Rock");
        assert_eq!(found["matrix:image:size"], bytes.len());
        assert_eq!(
            (&found["og:image:width"], &found["og:image:height"]),
            (&json!(279), &json!(129))
        );
        let at = found["og:image"].as_str().unwrap().strip_prefix("mxc://").unwrap();
        let got =
            fetch(&front, &format!("/_matrix/client/v1/media/download/{at}"), Some(&alice)).await;
        assert_eq!(got.bytes, bytes);
        fetch(&front, &ask(""), Some(&alice)).await.error(400, "M_MISSING_PARAM");
        fetch(&front, &ask(&format!("url={site}/nothing")), Some(&alice))
            .await
            .error(502, "M_UNKNOWN");
        fetch(&front, &ask(&format!("url={site}/page")), None).await.error(401, "M_MISSING_TOKEN");
    }
}

#[tokio::test]
async fn administrator_takes_files_out_of_sight() {
    let front = Front::get().await;
    let (alice, root) = (front.user("alice").await, accounts::admin(&front).await);
    let bytes = picture(64, 64, &front.name("bad"));
    let at = upload(&front, &alice, "image/png", bytes).await;
    let download = format!("/_matrix/client/v1/media/download/{at}");
    let admin = |who: Session, method: Method, path: String| {
        let front = &front;
        async move {
            let path = format!("/_synapse/admin/v1{path}");
            front.request(method, &path, Some(&who.token), None).await
        }
    };
    let post = |path: String| admin(root.clone(), Method::POST, path);
    let not = admin(alice.clone(), Method::POST, format!("/media/quarantine/{at}")).await;
    assert_eq!((not.status, not.errcode()), (403, "M_FORBIDDEN"));
    post(format!("/media/quarantine/{at}")).await.ok().unwrap();
    for path in [download.clone(), format!("/_matrix/media/v3/thumbnail/{at}?width=32&height=32")] {
        fetch(&front, &path, Some(&alice)).await.error(404, "M_NOT_FOUND");
    }
    post(format!("/media/unquarantine/{at}")).await.ok().unwrap();
    assert_eq!(fetch(&front, &download, Some(&alice)).await.status(), 200);

    // All that is named in a room.
    let room = alice.create_room(&json!({})).await.unwrap();
    let message = json!({ "msgtype": "m.image", "body": "bad.png", "url": format!("mxc://{at}") });
    alice.put(&format!("/rooms/{room}/send/m.room.message/1"), &message).await.unwrap();
    let done = post(format!("/room/{room}/media/quarantine")).await.ok().unwrap();
    assert_eq!(done["num_quarantined"], 1);
    fetch(&front, &download, Some(&alice)).await.error(404, "M_NOT_FOUND");

    let of_user = format!("/users/{}/media", alice.user_id);
    let listed = admin(root.clone(), Method::GET, of_user).await.ok().unwrap();
    assert_eq!(
        (&listed["total"], &listed["media"][0]["quarantined_by"]),
        (&json!(1), &json!(*root.user_id))
    );
    let told = admin(root.clone(), Method::GET, format!("/media/{at}")).await.ok().unwrap();
    assert_eq!(told["media_info"]["user_id"], *alice.user_id);
    let totals =
        format!("/statistics/users/media?order_by=media_length&search_term={}", alice.user_id);
    let totals = admin(root.clone(), Method::GET, totals).await.ok().unwrap();
    assert_eq!(totals["users"][0]["media_count"], 1, "{totals}");
    let (_, server) = alice.user_id.split_once(':').unwrap();
    let nobody = admin(root.clone(), Method::GET, format!("/users/@nobody:{server}/media")).await;
    assert_eq!((nobody.status, nobody.errcode()), (404, "M_NOT_FOUND"));
    let gone = admin(root.clone(), Method::DELETE, format!("/media/{at}")).await.ok().unwrap();
    assert_eq!(gone["total"], 1);
    let again = admin(root.clone(), Method::DELETE, format!("/media/{at}")).await;
    assert_eq!((again.status, again.errcode()), (404, "M_NOT_FOUND"));
}
