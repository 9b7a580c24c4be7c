//! Annotations, edits, threads.

use serde_json::{Value, json};
use tessera_sdk::params;

use crate::harness::{ALICE, BOB, event_id, server};

fn relation(rel_type: &str, target: &str, key: Option<&str>) -> Value {
    let mut relates = json!({"rel_type": rel_type, "event_id": target});
    if let Some(key) = key {
        relates["key"] = key.into();
    }
    json!({"body": "x", "m.relates_to": relates})
}

#[test]
fn relations_are_recorded() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let target = server.text(ALICE, &room, "hello");
    for (rel_type, kind, key) in [
        ("m.replace", "m.room.message", ""),
        ("m.thread", "m.room.message", ""),
        ("m.annotation", "m.reaction", "👍"),
        ("m.reference", "org.example", ""),
    ] {
        let content = relation(rel_type, &target, Some(key).filter(|key| !key.is_empty()));
        let id = event_id(&server.send(ALICE, &room, kind, rel_type, &content));
        let rows: Vec<(String, String, String, String, String)> = server.rows(
            "SELECT relates_to, rel_type, agg_key, type, sender FROM rooms_v1_relations WHERE event_id = $1",
            params![id],
        );
        let expected = [&target, rel_type, key, kind, ALICE].map(str::to_owned);
        let (a, b, c, d, e) = rows[0].clone();
        assert_eq!([a, b, c, d, e], expected);
    }
}

#[test]
fn same_annotation_twice_is_a_duplicate_until_it_is_redacted() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let _ = server.join(BOB, &room).ok();
    let target = server.text(ALICE, &room, "hello");
    let like = relation("m.annotation", &target, Some("+1"));
    let first = event_id(&server.send(ALICE, &room, "m.reaction", "1", &like));
    let answer = server.send(ALICE, &room, "m.reaction", "2", &like);
    assert_eq!(answer.error(), (400, "M_DUPLICATE_ANNOTATION".to_owned()));
    let repeated = event_id(&server.send(ALICE, &room, "m.reaction", "1", &like));
    assert_eq!(repeated, first, "a repeated request is no duplicate");
    let _ = event_id(&server.send(BOB, &room, "m.reaction", "2", &like));
    let heart = relation("m.annotation", &target, Some("<3"));
    let _ = event_id(&server.send(ALICE, &room, "m.reaction", "3", &heart));
    let _ = server.redact(ALICE, &room, &first, "r").ok();
    let _ = event_id(&server.send(ALICE, &room, "m.reaction", "4", &like));
}

#[test]
fn thread_cannot_begin_at_an_event_that_relates() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let root = server.text(ALICE, &room, "root");
    let reply = event_id(&server.send(
        ALICE,
        &room,
        "m.room.message",
        "1",
        &relation("m.thread", &root, None),
    ));
    let answer =
        server.send(ALICE, &room, "m.room.message", "2", &relation("m.thread", &reply, None));
    assert_eq!(answer.error(), (400, "M_UNKNOWN".to_owned()));
}
