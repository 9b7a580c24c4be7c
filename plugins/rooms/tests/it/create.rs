//! POST /createRoom.

use serde_json::{Value, json};
use tessera_plugin_rooms::core::version::SUPPORTED;

use crate::harness::{ALICE, BOB, server};

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[test]
fn first_events_come_in_the_order_of_the_specification() {
    let server = server();
    let room = server.create(
        ALICE,
        &json!({
            "name": "N", "topic": "T", "room_alias_name": "here", "invite": [BOB],
            "initial_state": [{"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}],
        }),
    );
    let events = server.events(&room);
    assert_eq!(
        types(&events),
        [
            "m.room.create",
            "m.room.member",
            "m.room.power_levels",
            "m.room.canonical_alias",
            "m.room.join_rules",
            "m.room.history_visibility",
            "m.room.guest_access",
            "m.room.encryption",
            "m.room.name",
            "m.room.topic",
            "m.room.member",
        ]
    );
    assert_eq!(events[1]["content"]["displayname"], "Alice");
    for (event, depth) in events.iter().zip(1..) {
        assert_eq!(event["depth"], depth);
    }
}

#[test]
fn every_version_makes_a_room_that_takes_messages() {
    for version in SUPPORTED {
        let server = server();
        let room = server.create(ALICE, &json!({"room_version": version, "preset": "public_chat"}));
        server.join(BOB, &room).ok();
        let event_id = server.text(BOB, &room, "hello");
        let event = server.event(&event_id);
        assert_eq!(event["content"]["body"], "hello", "version {version}");
        let hash_is_id = version == "12";
        assert_eq!(room.contains(':'), !hash_is_id, "version {version}");
    }
}
