//! Upload and download.

use crate::world::*;

#[test]
fn what_was_uploaded_is_what_is_downloaded() {
    let server = server();
    let answer = server.try_upload(ALICE, b"hello", "text/plain", Some("a b.txt")).answer.ok();
    let id = id_of(&answer);
    let got = server.download(&id);
    assert_eq!((got.status(), got.bytes()), (200, b"hello".to_vec()));
    assert_eq!(got.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(got.header("content-disposition"), "inline; filename=\"a b.txt\"");
    assert!(got.header("content-security-policy").starts_with("sandbox; default-src 'none';"));
    assert_eq!(got.header("cross-origin-resource-policy"), "cross-origin");
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    assert!(got.header("cache-control").starts_with("private"));
    let named = server.send(server.at("download", &id).param("fileName", "\u{1f41f}").build());
    assert_eq!(named.header("content-disposition"), "inline; filename*=utf-8''%F0%9F%90%9F");
}

#[test]
fn file_without_a_type_is_bytes_to_be_saved() {
    let server = server();
    let got = server.download(&server.upload(ALICE, b"<script>", ""));
    assert_eq!(got.header("content-type"), "application/octet-stream");
    assert_eq!(got.header("content-disposition"), "attachment");
    let page = server.download(&server.upload(ALICE, b"<script>", "text/html"));
    assert_eq!(page.header("content-disposition"), "attachment");
}

#[test]
fn client_that_has_a_file_is_not_sent_it_again() {
    let server = server();
    let id = server.upload(ALICE, b"hello", "text/plain");
    let tag = server.download(&id).header("etag").to_owned();
    let again = server.send(server.at("download", &id).header("if-none-match", &tag).build());
    assert_eq!(again.status(), 304);
    let other = server.send(server.at("download", &id).header("if-none-match", "\"x\"").build());
    assert_eq!(other.status(), 200);
}

#[test]
fn what_is_not_there_is_not_found() {
    let server = server();
    for id in ["NOTTHERE", "..", "a/b", ""] {
        assert_eq!(server.download(id).error(), (404, "M_NOT_FOUND".to_owned()), "{id}");
    }
    let other = server.host.request("GET", "download").user(BOB);
    let other = other.param("serverName", "hs2").param("mediaId", "abc");
    assert_eq!(server.send(other.build()).error(), (404, "M_NOT_FOUND".to_owned()));
}

#[test]
fn open_paths_end_with_the_freeze() {
    // The test host's clock stands in November 2023.
    for (freeze, status) in
        [("never", 200), ("2023-12-01", 200), ("2023-11-01", 404), ("always", 404)]
    {
        let server = server_with(&serde_json::json!({ "freeze-unauthenticated": freeze }));
        let id = server.upload(ALICE, b"hello", "text/plain");
        let open = server.send(server.at("download-open", &id).build());
        assert_eq!(open.status(), status, "{freeze}");
        if status == 200 {
            assert!(open.header("cache-control").starts_with("public"));
        }
        assert_eq!(server.download(&id).status(), 200, "{freeze}");
    }
}

#[test]
fn configuration_tells_the_cap_for_uploads() {
    let server = server();
    let got = server.send(server.host.request("GET", "config").user(ALICE).build());
    assert_eq!(got.answer.ok(), serde_json::json!({ "m.upload.size": 1000 }));
}
