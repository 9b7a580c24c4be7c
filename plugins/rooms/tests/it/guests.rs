//! Guests come in where they are let in, and go where they are not.

use serde_json::json;
use tessera_plugin_rooms::Plugin;
use tessera_sdk::params;
use tessera_sdk::storage::Batch;
use tessera_test_host::TestAnswer;

use crate::harness::{ALICE, BOB, Server, server};

const GUEST: &str = "@1234:hs1";

fn guest_joins(server: &Server, room: &str) -> TestAnswer {
    let request = server.host.request("POST", "join-room").user(GUEST).mark("guest");
    request.param("roomId", room).json(&json!({})).send::<Plugin>()
}

#[test]
fn guests_join_rooms_that_are_for_guests() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let refused = (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned());
    assert_eq!(guest_joins(&server, &room).error(), refused);
    let request = server.host.request("PUT", "put-state").user(GUEST).mark("guest");
    let request = request.param("roomId", &room).param("eventType", "m.room.member");
    let request = request.param("stateKey", GUEST).json(&json!({"membership": "join"}));
    assert_eq!(request.send::<Plugin>().error(), refused);
    let open = json!({"guest_access": "can_join"});
    let _ = server.put_state(ALICE, &room, "m.room.guest_access", "", &open).ok();
    let _ = guest_joins(&server, &room).ok();
    assert_eq!(server.membership(&room, GUEST), "join");
}

#[test]
fn guests_leave_when_the_room_is_closed_to_them() {
    let server = server();
    server.host.acting("accounts", || {
        let sql = "INSERT INTO accounts_profiles (user_id, guest) VALUES ($1, $2)";
        let rows = vec![params![GUEST, true], params![BOB, false]];
        Batch::new().run_many(sql, rows).commit().unwrap();
    });
    let open = json!([{"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}]);
    let room = server.create(ALICE, &json!({"preset": "public_chat", "initial_state": open}));
    let _ = guest_joins(&server, &room).ok();
    let _ = server.join(BOB, &room).ok();
    let closed = json!({"guest_access": "forbidden"});
    let _ = server.put_state(ALICE, &room, "m.room.guest_access", "", &closed).ok();
    assert_eq!(server.membership(&room, GUEST), "leave");
    assert_eq!(server.membership(&room, BOB), "join");
    assert_eq!(server.membership(&room, ALICE), "join");
}
