//! Rooms that are deleted, and parts of their history.

use serde_json::json;
use tessera_plugin_presence::Plugin;
use tessera_sdk::storage::Batch;

use crate::server::*;

fn purge(server: &Server, gone: bool) {
    let payload = json!({ "room_id": ROOM, "gone": gone, "before": 3 }).to_string();
    let batch = Batch::new().emit("rooms.purged", ROOM, payload);
    server.host.acting("rooms", || batch.commit()).unwrap();
    assert_eq!(server.host.deliver::<Plugin>("presence", "rooms.purged"), 1);
}

fn rows(server: &Server) -> (i64, i64) {
    let count = |table: &str| {
        let rows: Vec<(i64,)> = server.rows(&format!("SELECT COUNT(*) AS n FROM {table}"));
        rows[0].0
    };
    (count("presence_v1_receipts"), count("presence_v1_typing"))
}

#[test]
fn of_a_room_that_is_gone_nothing_stays() {
    let server = server();
    let receipt = [("roomId", ROOM), ("receiptType", "m.read"), ("eventId", "$2")];
    server.ask(ALICE, "POST", "receipt", &receipt, &json!({})).ok();
    let typing = [("roomId", ROOM), ("userId", ALICE)];
    server.ask(ALICE, "PUT", "typing", &typing, &json!({ "typing": true })).ok();
    purge(&server, false);
    assert_eq!(rows(&server), (1, 1), "history went, the room is there");
    purge(&server, true);
    assert_eq!(rows(&server), (0, 0));
}
