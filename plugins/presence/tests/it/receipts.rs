//! POST /receipt and /read_markers.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tessera_sdk::params;
use tessera_sdk::storage::Batch;
use tessera_test_host::TestAnswer;

use crate::server::*;

fn post(server: &Server, user: &str, kind: &str, event: &str, body: &Value) -> TestAnswer {
    let params = [("roomId", ROOM), ("receiptType", kind), ("eventId", event)];
    server.ask(user, "POST", "receipt", &params, body)
}

fn stored(server: &Server) -> Vec<(String, String, String, String)> {
    server.rows("SELECT user_id, type, thread_id, event_id FROM presence_v1_receipts ORDER BY user_id, type, thread_id")
}

fn row(user: &str, kind: &str, thread: &str, event: &str) -> (String, String, String, String) {
    (user.to_owned(), kind.to_owned(), thread.to_owned(), event.to_owned())
}

#[test]
fn receipts_move_forward_only() {
    let server = server();
    post(&server, ALICE, "m.read", "$2", &json!({})).ok();
    assert_eq!(server.host.calls(), 2);
    assert_eq!(server.host.wakes(), [format!("room:{ROOM}")]);
    post(&server, ALICE, "m.read", "$1", &json!({})).ok();
    post(&server, ALICE, "m.read", "$2", &json!({})).ok();
    assert!(server.host.wakes().is_empty());
    assert_eq!(stored(&server), [row(ALICE, "m.read", "", "$2")]);
    post(&server, ALICE, "m.read", "$3", &json!({})).ok();
    assert_eq!(stored(&server), [row(ALICE, "m.read", "", "$3")]);
    let messages = server.host.messages("presence.receipts");
    assert_eq!(messages.len(), 2);
    assert_eq!(
        messages[1],
        json!({ "user_id": ALICE, "room_id": ROOM, "thread_id": "", "event_id": "$3", "event_position": 3 })
    );
}

#[test]
fn private_receipts_wake_their_owner_alone() {
    let server = server();
    post(&server, ALICE, "m.read.private", "$2", &json!({})).ok();
    assert_eq!(server.host.wakes(), [format!("user:{ALICE}")]);
    assert_eq!(server.host.messages("presence.receipts").len(), 1);
}

#[test]
fn each_thread_has_a_receipt_of_its_own() {
    let server = server();
    relate(&server, "$2", "$1", "m.thread");
    post(&server, ALICE, "m.read", "$3", &json!({ "thread_id": "main" })).ok();
    post(&server, ALICE, "m.read", "$2", &json!({ "thread_id": "$1" })).ok();
    assert_eq!(
        stored(&server),
        [row(ALICE, "m.read", "$1", "$2"), row(ALICE, "m.read", "main", "$3")]
    );
    assert_eq!(
        post(&server, ALICE, "m.read", "$2", &json!({ "thread_id": "" })).error().1,
        "M_INVALID_PARAM"
    );
    assert_eq!(
        post(&server, ALICE, "m.read", "$2", &json!({ "thread_id": "x" })).error().1,
        "M_INVALID_PARAM"
    );
    assert_eq!(
        post(&server, ALICE, "m.read", "$2", &json!({ "thread_id": "$none" })).error().1,
        "M_NOT_FOUND"
    );
    assert_eq!(
        post(&server, ALICE, "m.fully_read", "$2", &json!({ "thread_id": "main" })).error().1,
        "M_INVALID_PARAM"
    );
}

fn relate(server: &Server, event: &str, to: &str, kind: &str) {
    let batch = Batch::new().run(
        "INSERT INTO rooms_relations (event_id, relates_to, rel_type) VALUES ($1, $2, $3)",
        params![event, to, kind],
    );
    server.host.acting("rooms", || batch.commit()).unwrap();
}

#[test]
fn a_receipt_is_for_an_event_of_its_thread() {
    let server = server();
    relate(&server, "$2", "$1", "m.thread");
    relate(&server, "$3", "$2", "m.annotation");
    for (event, thread) in [("$1", json!("$1")), ("$1", json!("main")), ("$3", json!("$1"))] {
        post(&server, ALICE, "m.read", event, &json!({ "thread_id": thread })).ok();
    }
    for (event, thread) in [
        ("$3", json!("main")),
        ("$2", json!("main")),
        ("$2", json!("$3")),
        ("$1", json!("$2")),
        ("$1", json!(7)),
        ("$1", json!(null)),
    ] {
        let answer = post(&server, ALICE, "m.read", event, &json!({ "thread_id": thread }));
        let expected = if thread.is_null() { None } else { Some("M_INVALID_PARAM") };
        let code = (answer.status() != 200).then(|| answer.error().1);
        assert_eq!(code.as_deref(), expected, "{event} in {thread}");
    }
    // It has lost what it said of its thread.
    let batch = Batch::new()
        .run("UPDATE rooms_events SET redacted_by = 'x' WHERE event_id = $1", params!["$2"])
        .run("DELETE FROM rooms_relations WHERE event_id = $1", params!["$2"]);
    server.host.acting("rooms", || batch.commit()).unwrap();
    post(&server, BOB, "m.read", "$2", &json!({ "thread_id": "$1" })).ok();
}

#[test]
fn receipts_belong_to_members_and_events_of_the_room() {
    let server = server();
    assert_eq!(post(&server, CAROL, "m.read", "$1", &json!({})).error().1, "M_FORBIDDEN");
    assert_eq!(post(&server, ALICE, "m.read", "$x", &json!({})).error().1, "M_NOT_FOUND");
    assert_eq!(post(&server, ALICE, "m.seen", "$1", &json!({})).error().1, "M_INVALID_PARAM");
    assert_eq!(post(&server, ALICE, "m.read", "$1", &json!([])).error().1, "M_BAD_JSON");
    assert!(stored(&server).is_empty());
}

#[test]
fn read_markers_are_account_data_and_receipts_at_once() {
    let server = server();
    let put = Arc::new(Mutex::new(Vec::new()));
    let seen = put.clone();
    server.host.services(move |services| {
        services.put_account_data = Arc::new(move |_, user, room, kind, content| {
            let call = format!("{user} {} {kind} {content}", room.unwrap_or("-"));
            seen.lock().unwrap().push(call);
            Ok(())
        });
    });
    let markers = json!({ "m.fully_read": "$1", "m.read": "$2", "m.read.private": "$3" });
    server.ask(ALICE, "POST", "read-markers", &[("roomId", ROOM)], &markers).ok();
    assert_eq!(
        stored(&server),
        [row(ALICE, "m.read", "", "$2"), row(ALICE, "m.read.private", "", "$3")]
    );
    let expected = format!("{ALICE} {ROOM} m.fully_read {{\"event_id\":\"$1\"}}");
    assert_eq!(*put.lock().unwrap(), std::slice::from_ref(&expected));
    post(&server, ALICE, "m.fully_read", "$1", &json!({})).ok();
    assert_eq!(*put.lock().unwrap(), [expected.clone(), expected]);

    server.ask(ALICE, "POST", "read-markers", &[("roomId", ROOM)], &json!({})).ok();
    for (user, body, code) in [
        (ALICE, json!({ "m.read": "$x" }), "M_NOT_FOUND"),
        (ALICE, json!({ "m.read": 5 }), "M_BAD_JSON"),
        (CAROL, json!({ "m.read": "$1" }), "M_FORBIDDEN"),
    ] {
        let answer = server.ask(user, "POST", "read-markers", &[("roomId", ROOM)], &body);
        assert_eq!(answer.error().1, code, "{body}");
    }
}
