//! How much is taken.

use serde_json::json;
use tessera_sdk::{blobs, digest};

use crate::world::*;

#[test]
fn one_file_is_not_too_large() {
    let server = server();
    let error = server.try_upload(ALICE, &[7; 1001], "image/png", None).error();
    assert_eq!(error, (413, "M_TOO_LARGE".to_owned()));
    // What was stored for nothing goes at once.
    let left: Vec<(String,)> = server.rows("SELECT blob FROM media_blobs");
    assert!(left.is_empty());
    assert!(blobs::stat(&digest::sha256(&[7; 1001])).is_err());
    server.upload(ALICE, &[7; 1000], "image/png");
}

#[test]
fn user_keeps_no_more_than_the_quota() {
    let server = server_with(&json!({ "max-bytes-per-user": 1500 }));
    let first = server.upload(ALICE, &[1; 900], "image/png");
    let error = server.try_upload(ALICE, &[2; 601], "image/png", None).error();
    assert_eq!(error, (403, "M_FORBIDDEN".to_owned()));
    server.upload(ALICE, &[3; 600], "image/png");
    server.upload(BOB, &[4; 900], "image/png");
    // What is deleted makes room.
    server.admin("DELETE", "admin-file", &[("serverName", "hs1"), ("mediaId", &first)]).answer.ok();
    server.upload(ALICE, &[5; 900], "image/png");
    server.counts_hold();
}

#[test]
fn quota_holds_for_two_uploads_at_once() {
    let server = server_with(&json!({ "max-bytes-per-user": 1500 }));
    server.host.before_next_commit(|host| {
        let server = Server { host: host.clone() };
        server.upload(ALICE, &[1; 900], "image/png");
    });
    let error = server.try_upload(ALICE, &[2; 900], "image/png", None).error();
    assert_eq!(error, (403, "M_FORBIDDEN".to_owned()));
    let kept: Vec<(i64, i64)> =
        server.rows("SELECT bytes, files FROM media_usage WHERE user_id <> ''");
    assert_eq!(kept, [(900, 1)]);
}

#[test]
fn user_uploads_so_much_in_a_time() {
    let server = server_with(&json!({ "upload-limits": [{ "bytes": 1000, "window-s": 60 }] }));
    server.upload(ALICE, &[1; 900], "image/png");
    let error = server.try_upload(ALICE, &[2; 200], "image/png", None).error();
    assert_eq!(error, (403, "M_FORBIDDEN".to_owned()));
    server.upload(BOB, &[2; 200], "image/png");
    server.host.advance(60_001);
    server.upload(ALICE, &[2; 200], "image/png");
}

#[test]
fn guests_do_not_upload() {
    let server = server();
    let guest = server.host.request("POST", "upload").user("@1:hs1").mark("guest");
    let error = server.put(guest, b"x").error();
    assert_eq!(error, (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned()));
    let guest = server.host.request("POST", "create").user("@1:hs1").mark("guest");
    assert_eq!(server.send(guest.build()).error().1, "M_GUEST_ACCESS_FORBIDDEN");
}

#[test]
fn filename_that_cannot_be_one_is_refused() {
    let server = server();
    for name in ["a\r\nb", &"x".repeat(2000)] {
        let error = server.try_upload(ALICE, b"x", "image/png", Some(name)).error();
        assert_eq!(error, (400, "M_INVALID_PARAM".to_owned()));
    }
}
