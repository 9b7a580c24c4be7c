//! What no client should send.

use serde_json::json;
use tessera_plugin_rooms::Plugin;
use tessera_test_host::TestAnswer;

use crate::harness::{ALICE, Server, server};

fn send_bytes(server: &Server, room: &str, kind: &str, body: &[u8]) -> TestAnswer {
    let request = server.host.request("PUT", "send").user(ALICE).device("D");
    let request = request.param("roomId", room).param("eventType", kind).param("txnId", "t");
    request.bytes(body).send::<Plugin>()
}

#[test]
fn contents_outside_canonical_json_are_refused() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    for (body, code) in [
        (&b"{\"a\":1.5}"[..], "M_BAD_JSON"),
        (b"{\"a\":9007199254740992}", "M_BAD_JSON"),
        (b"{\"a\":123456789012345678901234567890}", "M_BAD_JSON"),
        (b"[]", "M_BAD_JSON"),
        (b"\"x\"", "M_BAD_JSON"),
        (deep.as_bytes(), "M_BAD_JSON"),
        (b"", "M_NOT_JSON"),
        (b"{", "M_NOT_JSON"),
        (b"{\"a\":\"\xff\"}", "M_NOT_JSON"),
    ] {
        let answer = send_bytes(&server, &room, "m.room.message", body);
        assert_eq!(answer.error(), (400, code.to_owned()), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn events_over_64_kib_are_too_large() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let fits = json!({"body": "x".repeat(64_000)});
    assert_eq!(server.send(ALICE, &room, "m.room.message", "a", &fits).status(), 200);
    for length in [65_300, 65_536, 100_000] {
        let body = json!({"body": "x".repeat(length)});
        let answer = server.send(ALICE, &room, "m.room.message", "b", &body);
        assert_eq!(answer.error(), (413, "M_TOO_LARGE".to_owned()), "{length}");
    }
}

#[test]
fn keys_over_255_bytes_are_too_large() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let long = "é".repeat(128);
    let answer = server.send(ALICE, &room, &long, "t", &json!({}));
    assert_eq!(answer.error(), (413, "M_TOO_LARGE".to_owned()));
    let answer = server.put_state(ALICE, &room, "org.example", &long, &json!({}));
    assert_eq!(answer.error(), (413, "M_TOO_LARGE".to_owned()));
    let answer = server.send(ALICE, &room, "m.room.message", &"t".repeat(256), &json!({}));
    assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()));
}

#[test]
fn malformed_ids_are_invalid() {
    let server = server();
    for room in ["", "!", "room", "#a:hs1", "@a:hs1"] {
        let answer = server.send(ALICE, room, "m.room.message", "t", &json!({}));
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()), "{room}");
    }
    let room = server.create(ALICE, &json!({}));
    for user in ["", "bob", "@bob", "@bob:", "!bob:hs1", "@bob:h s"] {
        let answer = server.about(ALICE, "invite", &room, user);
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()), "{user}");
    }
    let answer = server.redact(ALICE, &room, "event", "t");
    assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()));
    for alias in ["#", "#a", "#:hs1", "#a b:hs1", "a"] {
        let answer = server.join(ALICE, alias);
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()), "{alias}");
    }
}

#[test]
fn user_id_is_needed() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    for act in ["invite", "kick", "ban", "unban"] {
        let answer = server.ask(ALICE, "POST", act, &[("roomId", &room)], &json!({}));
        assert_eq!(answer.error(), (400, "M_MISSING_PARAM".to_owned()), "{act}");
        let answer = server.ask(ALICE, "POST", act, &[("roomId", &room)], &json!({"user_id": 1}));
        assert_eq!(answer.error(), (400, "M_BAD_JSON".to_owned()), "{act}");
    }
}

#[test]
fn state_key_with_nul_survives() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let _ = server.put_state(ALICE, &room, "org.example", "a\0b", &json!({"x": 1})).ok();
    let placeholders =
        [("roomId", room.as_str()), ("eventType", "org.example"), ("stateKey", "a\0b")];
    assert_eq!(server.get(ALICE, "get-state-event", &placeholders).ok(), json!({"x": 1}));
}

#[test]
fn content_cannot_pretend_to_be_the_server() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    for kind in ["m.room.create", "m.room.member"] {
        let answer = server.send(ALICE, &room, kind, "t", &json!({"membership": "join"}));
        assert!([400, 403].contains(&answer.status()), "{kind}");
    }
    let answer = server.put_state(ALICE, &room, "m.room.create", "", &json!({}));
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}
