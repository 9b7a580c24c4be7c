//! What is kept, and for how long.

use serde_json::json;
use tessera_sdk::blobs;

use crate::world::*;

const HOUR_MS: u64 = 3_600_000;

#[test]
fn equal_bytes_are_kept_once_and_as_long_as_anybody_names_them() {
    let server = server();
    let (one, two) = (server.upload(ALICE, b"same", "a/b"), server.upload(BOB, b"same", "a/b"));
    let blob = blobs::put(b"same").unwrap();
    let users: Vec<(i64,)> = server.rows("SELECT users FROM media_blobs");
    assert_eq!(users, [(2,)]);
    let delete = |id: &str| {
        server.admin("DELETE", "admin-file", &[("serverName", "hs1"), ("mediaId", id)]).answer.ok()
    };
    delete(&one);
    server.host.advance(2 * HOUR_MS);
    server.sweep();
    assert_eq!(server.download(&two).bytes(), b"same");
    delete(&two);
    server.sweep();
    assert!(blobs::stat(&blob).is_ok(), "somebody may be uploading it now");
    server.host.advance(2 * HOUR_MS);
    server.sweep();
    assert!(blobs::stat(&blob).is_err());
    let left: Vec<(String,)> = server.rows("SELECT blob FROM media_blobs");
    assert!(left.is_empty());
    assert_eq!(server.download(&two).status(), 404);
}

#[test]
fn bytes_that_come_while_they_are_deleted_are_sent_again() {
    let server = server();
    let id = server.upload(ALICE, b"same", "a/b");
    server.admin("DELETE", "admin-file", &[("serverName", "hs1"), ("mediaId", &id)]).answer.ok();
    // The deletion stopped in the middle.
    tessera_sdk::storage::Batch::new()
        .run("UPDATE media_blobs SET doomed = TRUE", vec![])
        .commit()
        .unwrap();
    let blob = blobs::put(b"same").unwrap();
    assert_eq!(server.try_upload(ALICE, b"same", "a/b", None).status(), 503);
    assert!(blobs::stat(&blob).is_ok(), "whoever began may still be at it");
    server.host.advance(180_000);
    assert_eq!(server.try_upload(ALICE, b"same", "a/b", None).status(), 503);
    assert!(blobs::stat(&blob).is_err());
    let id = server.upload(ALICE, b"same", "a/b");
    assert_eq!(server.download(&id).bytes(), b"same");
    server.counts_hold();
}

#[test]
fn blob_that_is_taken_up_again_is_not_deleted() {
    let server = server();
    let id = server.upload(ALICE, b"same", "a/b");
    server.admin("DELETE", "admin-file", &[("serverName", "hs1"), ("mediaId", &id)]).answer.ok();
    server.host.advance(2 * HOUR_MS);
    server.host.before_next_commit(|host| {
        let server = Server { host: host.clone() };
        server.upload(BOB, b"same", "a/b");
    });
    server.sweep();
    assert!(blobs::stat(&blobs::put(b"same").unwrap()).is_ok());
    server.counts_hold();
}

#[test]
fn files_that_nobody_looks_at_go_after_their_time() {
    let server = server_with(&json!({ "retention-local-days": 30 }));
    let [looked, left, kept] =
        ["1", "2", "3"].map(|text| server.upload(ALICE, text.as_bytes(), "a/b"));
    server.admin("POST", "admin-protect", &[("mediaId", &kept)]).answer.ok();
    server.host.advance(20 * 24 * HOUR_MS);
    assert_eq!(server.download(&looked).status(), 200);
    server.host.advance(15 * 24 * HOUR_MS);
    server.sweep();
    assert_eq!(server.download(&looked).status(), 200);
    assert_eq!(server.download(&left).status(), 404);
    assert_eq!(server.download(&kept).status(), 200);
}

#[test]
fn sweep_comes_every_hour_and_at_once_where_there_is_more() {
    let server = server();
    server.sweep();
    let next = server.host.next_timer().unwrap();
    assert!(next > server.host.now_ms() && next.is_multiple_of(HOUR_MS));
}

#[test]
fn upload_whose_bytes_are_swept_meanwhile_is_not_acknowledged() {
    let server = server();
    let id = server.upload(ALICE, b"same", "a/b");
    server.admin("DELETE", "admin-file", &[("serverName", "hs1"), ("mediaId", &id)]).answer.ok();
    server.host.advance(2 * HOUR_MS);
    // The host has stored the bytes once more, the plug-in has not yet written of it.
    server.host.before_next_commit(|host| Server { host: host.clone() }.sweep());
    assert_eq!(server.try_upload(ALICE, b"same", "a/b", None).status(), 503);
    let id = server.upload(ALICE, b"same", "a/b");
    assert_eq!(server.download(&id).bytes(), b"same");
    server.counts_hold();
}

#[test]
fn refused_bytes_that_somebody_else_names_stay() {
    let server = server_with(&json!({ "upload-limits": [{ "bytes": 4, "window-s": 60 }] }));
    let id = server.upload(BOB, b"same", "a/b");
    server.upload(ALICE, b"1", "a/b");
    assert_eq!(server.try_upload(ALICE, b"same", "a/b", None).status(), 403);
    assert_eq!(server.download(&id).bytes(), b"same");
    server.counts_hold();
}
