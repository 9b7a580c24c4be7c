//! What modules say.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tessera_sdk::hooks::Refusal;
use tessera_sdk::hooks::media_limits::Limit;

use crate::world::*;

fn refusal() -> Refusal {
    Refusal { status: 451, errcode: "ORG_EXAMPLE_NO".to_owned(), error: "no".to_owned() }
}

#[test]
fn file_that_a_module_refuses_is_not_taken() {
    let server = server();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    server.host.services(|services| {
        services.hooks.check_media = Some(Arc::new(move |_, file, who| {
            let bytes = tessera_sdk::blobs::read(&file.blob, 0, 100).unwrap();
            seen.lock().unwrap().push((
                file.size,
                file.content_type.clone(),
                file.filename.clone(),
                file.derived,
                who.map(|who| who.user.clone()),
            ));
            if bytes == b"virus" { Err(refusal()) } else { Ok(()) }
        }));
    });
    let error = server.try_upload(ALICE, b"virus", "image/png", Some("v.png")).error();
    assert_eq!(error, (451, "ORG_EXAMPLE_NO".to_owned()));
    let id = server.upload(ALICE, b"fine", "image/png");
    assert_eq!(server.download(&id).status(), 200);
    let asked = asked.lock().unwrap();
    let expected =
        (5, "image/png".to_owned(), Some("v.png".to_owned()), false, Some(ALICE.to_owned()));
    assert_eq!(asked[0], expected);
    assert_eq!(asked.len(), 2, "once for each file");
}

#[test]
fn file_that_came_before_the_module_is_asked_about_before_it_is_served() {
    let server = server();
    let (bad, good) = (server.upload(ALICE, b"virus", "a/b"), server.upload(ALICE, b"fine", "a/b"));
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    server.host.services(|services| {
        services.hooks.check_media = Some(Arc::new(move |_, file, who| {
            *count.lock().unwrap() += 1;
            assert_eq!(who.map(|who| who.user.as_str()), Some(ALICE));
            if file.size == 5 { Err(refusal()) } else { Ok(()) }
        }));
    });
    for _ in 0..2 {
        assert_eq!(server.download(&bad).error(), (404, "M_NOT_FOUND".to_owned()));
        assert_eq!(server.download(&good).status(), 200);
    }
    assert_eq!(*asked.lock().unwrap(), 2);
    // The module goes, its word stays.
    server.host.services(|services| services.hooks.check_media = None);
    assert_eq!(server.download(&bad).status(), 404);
}

#[test]
fn module_says_whether_a_user_may_upload() {
    let server = server();
    server.host.services(|services| {
        services.hooks.may_upload =
            Some(Arc::new(
                |_, user, bytes| if user == ALICE && bytes > 3 { Err(refusal()) } else { Ok(()) },
            ));
    });
    let error = server.try_upload(ALICE, b"long", "a/b", None).error();
    assert_eq!(error, (451, "ORG_EXAMPLE_NO".to_owned()));
    server.upload(ALICE, b"abc", "a/b");
    server.upload(BOB, b"long", "a/b");
}

#[test]
fn module_gives_limits_and_is_told_where_they_were_met() {
    let server = server_with(&json!({ "upload-limits": [{ "bytes": 1, "window-s": 60 }] }));
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    server.host.services(|services| {
        services.hooks.upload_limits =
            Some(Arc::new(|_, _| Some(vec![Limit { bytes: 10, window_ms: 1000 }])));
        services.hooks.upload_limit_exceeded = Some(Arc::new(move |_, user, bytes, limit| {
            tell.lock().unwrap().push((user.to_owned(), bytes, limit.bytes));
        }));
    });
    server.upload(ALICE, b"12345678", "a/b");
    let error = server.try_upload(ALICE, b"123", "a/b", None).error();
    assert_eq!(error, (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(*told.lock().unwrap(), [(ALICE.to_owned(), 3, 10)]);
    server.host.advance(1001);
    server.upload(ALICE, b"123", "a/b");
}

#[test]
fn module_changes_what_a_user_is_told_of_the_configuration() {
    let server = server();
    server.host.services(|services| {
        services.hooks.media_config = Some(Arc::new(|_, user| {
            (user == ALICE).then(|| r#"{"m.upload.size":5,"org.example.x":1}"#.to_owned())
        }));
    });
    let told = |user: &str| server.send(server.host.request("GET", "config").user(user).build());
    assert_eq!(told(ALICE).answer.ok(), json!({ "m.upload.size": 5, "org.example.x": 1 }));
    assert_eq!(told(BOB).answer.ok(), json!({ "m.upload.size": 1000 }));
}

#[test]
fn module_that_did_not_answer_has_said_nothing_of_a_file() {
    let server = server();
    let id = server.upload(ALICE, b"fine", "a/b");
    let away = Arc::new(Mutex::new(true));
    let is_away = away.clone();
    server.host.services(|services| {
        services.hooks.check_media = Some(Arc::new(move |_, _, _| {
            if !*is_away.lock().unwrap() {
                return Ok(());
            }
            // As the default descriptor has it.
            Err(Refusal { status: 503, errcode: "M_UNKNOWN".to_owned(), error: "away".to_owned() })
        }));
    });
    assert_eq!(server.download(&id).error(), (503, "M_UNKNOWN".to_owned()));
    assert_eq!(server.try_upload(ALICE, b"more", "a/b", None).status(), 503);
    *away.lock().unwrap() = false;
    assert_eq!(server.download(&id).bytes(), b"fine");
    let kept: Vec<(bool, Option<String>)> =
        server.rows("SELECT checked, quarantined_by FROM media_files");
    assert_eq!(kept, [(true, None)]);
}
