//! Previews of rooms.

use serde_json::json;

use crate::harness::{ALICE, BOB, server};

#[test]
fn summary_tells_of_a_room_by_id_and_alias() {
    let server = server();
    let state =
        json!([{"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]);
    let room = server.create(
        ALICE,
        &json!({"preset": "public_chat", "name": "Cheese",
        "room_alias_name": "cheese", "initial_state": state}),
    );
    let expected = json!({"room_id": room, "name": "Cheese", "num_joined_members": 1, "join_rule": "public",
        "world_readable": false, "guest_can_join": false, "encryption": "m.megolm.v1.aes-sha2",
        "canonical_alias": "#cheese:hs1", "room_version": "12", "membership": "leave"});
    for id in [room.as_str(), "#cheese:hs1"] {
        let told = server.get(Some(BOB), "room-summary", &[("roomIdOrAlias", id)], &[]).ok();
        assert_eq!(told, expected);
    }
    let own = server.get(Some(ALICE), "room-summary", &[("roomIdOrAlias", &room)], &[]).ok();
    assert_eq!(own["membership"], "join");
    let anybody = server.get(None, "room-summary", &[("roomIdOrAlias", &room)], &[]).ok();
    assert!(anybody.get("membership").is_none());
    let old = server.get(None, "room-summary-unstable", &[("roomIdOrAlias", &room)], &[]).ok();
    assert_eq!(old["im.nheko.summary.version"], "12");
    assert_eq!(old["im.nheko.summary.encryption"], "m.megolm.v1.aes-sha2");
}

#[test]
fn private_rooms_are_not_found_by_strangers() {
    let server = server();
    let room = server.create(ALICE, &json!({"invite": [BOB]}));
    let ask = |user: Option<&str>, id: &str| {
        server.get(user, "room-summary", &[("roomIdOrAlias", id)], &[])
    };
    assert_eq!(ask(Some(BOB), &room).ok()["membership"], "invite");
    assert_eq!(ask(Some("@carol:hs1"), &room).error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(ask(None, &room).error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(ask(None, "!none:hs1").error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(ask(None, "#none:hs1").error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(ask(None, "none").error(), (400, "M_INVALID_PARAM".to_owned()));
}
