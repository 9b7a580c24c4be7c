//! Thumbnails, made by a stand-in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tessera_sdk::blobs;
use tessera_sdk::services::ThumbnailsError;
use tessera_sdk::services::thumbnails::{Picture, Thumbnail, Wish};

use crate::world::*;

/// Makes texts that say what they are, and counts how often it is asked.
fn artist(server: &Server) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    server.host.services(|services| {
        services.make_thumbnails = Arc::new(move |_, blob, wishes: &[Wish]| {
            count.fetch_add(1, Ordering::SeqCst);
            let thumbnails = wishes.iter().map(|wish| {
                let text = format!(
                    "{blob} {}x{} {} {}",
                    wish.width, wish.height, wish.method, wish.animated
                );
                Thumbnail {
                    blob: blobs::put(text.as_bytes()).unwrap(),
                    size: text.len() as u64,
                    content_type: "image/png".to_owned(),
                    width: wish.width,
                    height: wish.height,
                    animated: wish.animated,
                }
            });
            Ok(Picture {
                width: 800,
                height: 600,
                content_type: "image/png".to_owned(),
                thumbnails: thumbnails.collect(),
            })
        });
    });
    asked
}

fn says(got: &Got) -> String {
    String::from_utf8(got.bytes()).unwrap().split_once(' ').unwrap().1.to_owned()
}

#[test]
fn picture_is_decoded_once_for_all_sizes() {
    let server = server();
    let asked = artist(&server);
    let id = server.upload(ALICE, b"picture", "image/png");
    let got = server.thumbnail(&id, 30, 30, "crop");
    assert_eq!(says(&got), "32x32 crop false");
    assert_eq!(got.header("content-disposition"), "inline; filename=\"thumbnail.png\"");
    assert_eq!(says(&server.thumbnail(&id, 100, 100, "scale")), "320x240 scale false");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(says(&server.thumbnail(&id, 100, 100, "crop")), "128x128 crop false");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let moving = server.at("thumbnail", &id).query("width", "32").query("height", "32");
    let moving = moving.query("method", "crop").query("animated", "true");
    assert_eq!(says(&server.send(moving.build())), "32x32 crop true");
    server.counts_hold();
    let known: Vec<(i64, i64)> = server.rows("SELECT width, height FROM media_pictures");
    assert_eq!(known, [(800, 600)]);
}

#[test]
fn thumbnails_that_are_kept_are_few() {
    let server = server();
    let asked = artist(&server);
    let id = server.upload(ALICE, b"picture", "image/png");
    for side in [32, 64, 96, 128, 192] {
        assert_eq!(server.thumbnail(&id, side, side, "crop").status(), 200);
    }
    let kept: Vec<(i64,)> = server.rows("SELECT width FROM media_thumbnails");
    assert_eq!(kept.len(), 4);
    let before = asked.load(Ordering::SeqCst);
    assert_eq!(server.thumbnail(&id, 192, 192, "crop").status(), 200);
    assert_eq!(asked.load(Ordering::SeqCst), before, "the nearest that is kept");
    server.counts_hold();
}

#[test]
fn as_many_are_made_as_are_kept() {
    for most in [0, 1] {
        let server = server_with(&json!({ "max-thumbnails": most }));
        let asked = artist(&server);
        let id = server.upload(ALICE, b"picture", "image/png");
        for side in [32, 64, 96, 32] {
            assert_eq!(says(&server.thumbnail(&id, side, side, "crop")), "32x32 crop false");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{most}");
    }
}

#[test]
fn thumbnails_go_with_their_file() {
    let server = server();
    artist(&server);
    let id = server.upload(ALICE, b"picture", "image/png");
    server.thumbnail(&id, 32, 32, "crop");
    let at = [("serverName", "hs1"), ("mediaId", id.as_str())];
    // One more is made while it is deleted.
    let other = id.clone();
    server.host.before_next_commit(move |host| {
        let server = Server { host: host.clone() };
        assert_eq!(server.thumbnail(&other, 128, 128, "crop").status(), 200);
    });
    server.admin("DELETE", "admin-file", &at).answer.ok();
    let left: Vec<(String,)> = server.rows("SELECT media_id FROM media_thumbnails");
    assert!(left.is_empty());
    server.counts_hold();
    assert_eq!(server.thumbnail(&id, 32, 32, "crop").status(), 404);
}

#[test]
fn what_gets_no_thumbnail_is_decoded_once() {
    for (problem, expected) in [
        (ThumbnailsError::Unsupported(String::new()), (400, "M_UNKNOWN")),
        (ThumbnailsError::TooLarge(String::new()), (413, "M_TOO_LARGE")),
        (ThumbnailsError::Unknown(String::new()), (400, "M_UNKNOWN")),
    ] {
        let server = server();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        server.host.services(|services| {
            services.make_thumbnails = Arc::new(move |_, _, _| {
                count.fetch_add(1, Ordering::SeqCst);
                Err(problem.clone())
            });
        });
        let id = server.upload(ALICE, b"no picture", "image/png");
        for _ in 0..3 {
            let (status, code) = server.thumbnail(&id, 32, 32, "crop").error();
            assert_eq!((status, code.as_str()), expected);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn thumbnails_that_nobody_makes_now_come_later() {
    let server = server();
    let id = server.upload(ALICE, b"picture", "image/png");
    assert_eq!(server.thumbnail(&id, 32, 32, "crop").error().0, 503);
    artist(&server);
    assert_eq!(server.thumbnail(&id, 32, 32, "crop").status(), 200);
}

#[test]
fn sizes_and_methods_are_checked() {
    let server = server();
    let id = server.upload(ALICE, b"picture", "image/png");
    let ask = |query: &[(&str, &str)]| {
        let mut request = server.at("thumbnail", &id);
        for (name, value) in query {
            request = request.query(name, value);
        }
        server.send(request.build()).error()
    };
    assert_eq!(ask(&[("width", "32")]), (400, "M_MISSING_PARAM".to_owned()));
    for wrong in [
        &[("width", "-1"), ("height", "32")][..],
        &[("width", "0"), ("height", "32")],
        &[("width", "a"), ("height", "32")],
        &[("width", "32"), ("height", "32"), ("method", "stretch")],
        &[("width", "32"), ("height", "32"), ("animated", "perhaps")],
    ] {
        assert_eq!(ask(wrong), (400, "M_INVALID_PARAM".to_owned()), "{wrong:?}");
    }
}

#[test]
fn open_path_ends_with_the_freeze_too() {
    for (freeze, status) in [("never", 200), ("always", 404)] {
        let server = server_with(&json!({ "freeze-unauthenticated": freeze }));
        artist(&server);
        let id = server.upload(ALICE, b"picture", "image/png");
        let open = server.at("thumbnail-open", &id).query("width", "32").query("height", "32");
        assert_eq!(server.send(open.build()).status(), status, "{freeze}");
    }
}
