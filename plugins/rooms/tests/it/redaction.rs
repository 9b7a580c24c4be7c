//! Redactions, by their endpoint and by /send.

use serde_json::json;
use tessera_plugin_rooms::Plugin;
use tessera_sdk::{params, storage};

use crate::harness::{ALICE, BOB, event_id, server};

#[test]
fn own_events_are_redacted_in_every_version() {
    for version in ["1", "3", "6", "10", "11", "12"] {
        let server = server();
        let room = server.create(ALICE, &json!({"preset": "public_chat", "room_version": version}));
        let _ = server.join(BOB, &room).ok();
        let target = server.text(BOB, &room, "secret");
        let redaction = event_id(&server.redact(BOB, &room, &target, "t"));
        let again = event_id(&server.redact(BOB, &room, &target, "t"));
        assert_eq!(redaction, again);
        let pruned = server.event(&target);
        assert_eq!(pruned["content"], json!({}), "version {version}");
        assert!(pruned.get("hashes").is_some() && pruned.get("signatures").is_some());
        let stored = server.event(&redaction);
        let inside = ["11", "12"].contains(&version);
        assert_eq!(stored["content"].get("redacts").is_some(), inside);
        assert_eq!(stored.get("redacts").is_some(), !inside);
        let client = server.read(ALICE, &room, &target).ok();
        assert_eq!(client["unsigned"]["redacted_because"]["event_id"], redaction.as_str());
        assert_eq!(client["unsigned"]["redacted_because"]["content"]["reason"], "no");
        let hits = storage::search("messages", "secret", None, 10, 0).unwrap();
        assert!(hits.is_empty());
    }
}

#[test]
fn other_peoples_events_take_power() {
    for version in ["1", "12"] {
        let server = server();
        let room = server.create(ALICE, &json!({"preset": "public_chat", "room_version": version}));
        let _ = server.join(BOB, &room).ok();
        let alices = server.text(ALICE, &room, "a");
        let bobs = server.text(BOB, &room, "b");
        assert_eq!(
            server.redact(BOB, &room, &alices, "t").error(),
            (403, "M_FORBIDDEN".to_owned())
        );
        assert_eq!(server.event(&alices)["content"]["body"], "a");
        let _ = server.redact(ALICE, &room, &bobs, "t").ok();
    }
}

#[test]
fn target_must_be_in_the_room() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let other = server.create(ALICE, &json!({}));
    let elsewhere = server.text(ALICE, &other, "x");
    let answer = server.redact(ALICE, &room, &elsewhere, "t1");
    assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()));
    let answer = server.redact(ALICE, &room, "$none", "t2");
    assert_eq!(answer.error(), (404, "M_NOT_FOUND".to_owned()));
    let create: Vec<(String,)> = server.rows(
        "SELECT event_id FROM rooms_events WHERE room_id = $1 AND type = 'm.room.create'",
        params![&room],
    );
    let answer = server.redact(ALICE, &room, &create[0].0, "c");
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn redaction_can_be_sent_as_an_event() {
    for version in tessera_plugin_rooms::core::version::SUPPORTED {
        let server = server();
        let room = server.create(ALICE, &json!({"room_version": version}));
        let target = server.text(ALICE, &room, "secret");
        let content = json!({"redacts": target});
        let sent = event_id(&server.send(ALICE, &room, "m.room.redaction", "t", &content));
        assert_eq!(server.event(&target)["content"], json!({}));
        let client = server.read(ALICE, &room, &target).ok();
        assert_eq!(client["unsigned"]["redacted_because"]["event_id"], sent.as_str());
        // Where the version has it, and only there.
        let stored = server.event(&sent);
        let inside = ["11", "12"].contains(&version);
        assert_eq!(stored["content"].get("redacts").is_some(), inside, "version {version}");
        assert_eq!(stored.get("redacts").is_some(), !inside, "version {version}");
        let answer = server.send(ALICE, &room, "m.room.redaction", "u", &json!({}));
        assert_eq!(answer.error(), (400, "M_BAD_JSON".to_owned()));
    }
}

#[test]
fn redacted_member_event_keeps_the_membership() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let member: Vec<(String,)> =
        server.rows("SELECT event_id FROM rooms_memberships WHERE room_id = $1", params![&room]);
    let _ = server.redact(ALICE, &room, &member[0].0, "t").ok();
    let rows: Vec<(String, Option<String>, Option<String>)> = server.rows(
        "SELECT membership, display_name, avatar_url FROM rooms_v1_memberships WHERE room_id = $1",
        params![&room],
    );
    assert_eq!(rows, [("join".to_owned(), None, None)]);
    server.text(ALICE, &room, "still here");
}

#[test]
fn second_redaction_leaves_the_first_in_place() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let target = server.text(ALICE, &room, "x");
    let first = event_id(&server.redact(ALICE, &room, &target, "a"));
    let _ = event_id(&server.redact(ALICE, &room, &target, "b"));
    let by: Vec<(Option<String>,)> = server
        .rows("SELECT redacted_by FROM rooms_v1_events WHERE event_id = $1", params![&target]);
    assert_eq!(by, [(Some(first),)]);
}

#[test]
fn suspended_users_redact_their_own_events_only() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let _ = server.join(BOB, &room).ok();
    let (alices, bobs) = (server.text(ALICE, &room, "a"), server.text(BOB, &room, "b"));
    let suspended = |route: &str| {
        server.host.request("PUT", route).user(ALICE).mark("suspended").param("roomId", &room)
    };
    let redact = |target: &str, txn: &str| {
        let request = suspended("redact").param("eventId", target).param("txnId", txn);
        request.json(&json!({})).send::<Plugin>()
    };
    let send = |target: &str, txn: &str, delay: Option<&str>| {
        let request = suspended("send").param("eventType", "m.room.redaction").param("txnId", txn);
        let request = request.json(&json!({"redacts": target}));
        match delay {
            Some(ms) => request.query("org.matrix.msc4140.delay", ms).send::<Plugin>(),
            None => request.send::<Plugin>(),
        }
    };
    let refused = (403, "M_USER_SUSPENDED".to_owned());
    assert_eq!(redact(&bobs, "1").error(), refused, "whatever her power");
    assert_eq!(send(&bobs, "2", None).error(), refused);
    assert_eq!(send(&bobs, "3", Some("1000")).error(), refused);
    assert_eq!(server.event(&bobs)["content"]["body"], "b");
    let _ = redact(&alices, "4").ok();
    assert_eq!(server.event(&alices)["content"], json!({}));
}
