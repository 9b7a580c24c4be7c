//! PUT /rooms/{roomId}/send/{eventType}/{txnId}.

use serde_json::json;

use crate::harness::{ALICE, event_id, server};

#[test]
fn repeated_transaction_gives_the_first_event() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let body = json!({"msgtype": "m.text", "body": "once"});
    let first = event_id(&server.send(ALICE, &room, "m.room.message", "t", &body));
    let again = event_id(&server.send(ALICE, &room, "m.room.message", "t", &body));
    assert_eq!(first, again);
    assert_eq!(server.events(&room).iter().filter(|e| e["type"] == "m.room.message").count(), 1);
}

#[test]
fn sending_takes_two_storage_calls() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let _ = server.host.calls();
    server.text(ALICE, &room, "hi");
    assert_eq!(server.host.calls(), 2);
}
