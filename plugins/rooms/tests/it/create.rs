//! POST /createRoom.

use serde_json::{Value, json};
use tessera_plugin_rooms::core::version::SUPPORTED;

use crate::harness::{ALICE, BOB, CAROL, server};

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
        let _ = server.join(BOB, &room).ok();
        let event_id = server.text(BOB, &room, "hello");
        let event = server.event(&event_id);
        assert_eq!(event["content"]["body"], "hello", "version {version}");
        let hash_is_id = version == "12";
        assert_eq!(room.contains(':'), !hash_is_id, "version {version}");
    }
}

fn content(events: &[Value], kind: &str) -> Value {
    let event = events.iter().rfind(|event| event["type"] == kind);
    event.unwrap_or_else(|| panic!("no {kind}"))["content"].clone()
}

#[test]
fn presets_say_who_may_join() {
    let server = server();
    for (preset, rule, guests) in [
        ("private_chat", "invite", true),
        ("trusted_private_chat", "invite", true),
        ("public_chat", "public", false),
    ] {
        let room =
            server.create(ALICE, &json!({"preset": preset, "room_version": "11", "invite": [BOB]}));
        let events = server.events(&room);
        assert_eq!(content(&events, "m.room.join_rules")["join_rule"], rule);
        let access = events.iter().find(|event| event["type"] == "m.room.guest_access");
        assert_eq!(
            access.is_some_and(|event| event["content"]["guest_access"] == "can_join"),
            guests
        );
        assert_eq!(content(&events, "m.room.history_visibility")["history_visibility"], "shared");
        let trusted = preset == "trusted_private_chat";
        assert_eq!(content(&events, "m.room.power_levels")["users"][BOB] == 100, trusted);
    }
    let room = server.create(ALICE, &json!({"visibility": "public"}));
    assert_eq!(content(&server.events(&room), "m.room.join_rules")["join_rule"], "public");
}

#[test]
fn trusted_users_of_version_12_are_creators() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "trusted_private_chat", "invite": [BOB]}));
    let events = server.events(&room);
    assert_eq!(events[0]["content"]["additional_creators"], json!([BOB]));
    assert_eq!(events[0]["content"]["room_version"], "12");
    assert!(events[0].get("room_id").is_none());
    assert_eq!(content(&events, "m.room.power_levels")["users"], json!({}));
    let _ = server.join(BOB, &room).ok();
    let _ = server.put_state(BOB, &room, "m.room.tombstone", "", &json!({"body": "x"})).ok();
}

#[test]
fn create_content_follows_the_version() {
    let server = server();
    for version in SUPPORTED {
        let room = server.create(
            ALICE,
            &json!({"room_version": version, "creation_content": {"m.federate": false, "creator": "@x:y"}}),
        );
        let create = content(&server.events(&room), "m.room.create");
        let old = version.parse::<u8>().unwrap() < 11;
        assert_eq!(create.get("creator").is_some(), old, "version {version}");
        assert!(!old || create["creator"] == ALICE);
        assert_eq!(create["m.federate"], false);
    }
}

#[test]
fn initial_state_takes_the_place_of_the_presets() {
    let server = server();
    let room = server.create(
        ALICE,
        &json!({"preset": "public_chat", "initial_state": [
            {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}},
        ]}),
    );
    let events = server.events(&room);
    assert_eq!(types(&events).iter().filter(|kind| **kind == "m.room.join_rules").count(), 1);
    assert_eq!(content(&events, "m.room.join_rules")["join_rule"], "knock");
}

#[test]
fn power_levels_can_be_overridden() {
    let server = server();
    let body =
        json!({"power_level_content_override": {"events_default": 20, "users": {CAROL: 50}}});
    let room = server.create(ALICE, &body);
    let levels = content(&server.events(&room), "m.room.power_levels");
    assert_eq!((&levels["events_default"], &levels["users"]), (&json!(20), &json!({CAROL: 50})));
    assert_eq!(levels["events"]["m.room.tombstone"], 150);
}

#[test]
fn levels_that_break_the_rules_make_no_room() {
    let server = server();
    let body = json!({"power_level_content_override": {"users": {ALICE: 100}}});
    let answer = server.ask(ALICE, "POST", "create-room", &[], &body);
    assert_eq!(answer.error(), (400, "M_INVALID_ROOM_STATE".to_owned()));
    assert!(server.rows::<(String,)>("SELECT room_id FROM rooms_rooms", vec![]).is_empty());
}

#[test]
fn taken_alias_makes_no_room() {
    let server = server();
    let body = json!({"room_alias_name": "here"});
    server.create(ALICE, &body);
    let answer = server.ask(BOB, "POST", "create-room", &[], &body);
    assert_eq!(answer.error(), (400, "M_ROOM_IN_USE".to_owned()));
    assert_eq!(server.rows::<(String,)>("SELECT room_id FROM rooms_rooms", vec![]).len(), 1);
}

#[test]
fn same_wish_at_the_same_moment_makes_two_rooms() {
    let server = server();
    let first = server.create(ALICE, &json!({}));
    let second = server.create(ALICE, &json!({}));
    assert_ne!(first, second);
}

#[test]
fn wrong_wishes_are_refused() {
    let server = server();
    for (body, status, code) in [
        (json!({"room_version": "13"}), 400, "M_UNSUPPORTED_ROOM_VERSION"),
        (json!({"room_version": 12}), 400, "M_BAD_JSON"),
        (json!({"preset": "x"}), 400, "M_INVALID_PARAM"),
        (json!({"visibility": "x"}), 400, "M_INVALID_PARAM"),
        (json!({"invite": ["bob"]}), 400, "M_INVALID_PARAM"),
        (json!({"invite": [ALICE]}), 400, "M_INVALID_PARAM"),
        (json!({"invite": vec![BOB; 201]}), 400, "M_INVALID_PARAM"),
        (json!({"invite_3pid": [{}]}), 400, "M_MISSING_PARAM"),
        (json!({"invite_3pid": [{"id_server": "x"}]}), 403, "M_SERVER_NOT_TRUSTED"),
        (json!({"room_alias_name": "a:b"}), 400, "M_INVALID_PARAM"),
        (json!({"room_alias_name": "a b"}), 400, "M_INVALID_PARAM"),
        (
            json!({"initial_state": [{"type": "m.room.create", "content": {}}]}),
            400,
            "M_INVALID_PARAM",
        ),
        (json!({"initial_state": {}}), 400, "M_BAD_JSON"),
        (json!({"creation_content": {"x": 1.5}}), 400, "M_BAD_JSON"),
        (json!({"topic": "x".repeat(70_000)}), 413, "M_TOO_LARGE"),
        (json!([]), 400, "M_BAD_JSON"),
    ] {
        let answer = server.ask(ALICE, "POST", "create-room", &[], &body);
        assert_eq!(answer.error(), (status, code.to_owned()), "{}", answer.json());
    }
    let answer = server
        .host
        .request("POST", "create-room")
        .user(ALICE)
        .bytes(b"{")
        .send::<tessera_plugin_rooms::Plugin>();
    assert_eq!(answer.error(), (400, "M_NOT_JSON".to_owned()));
}

#[test]
fn everything_of_a_new_room_is_announced_in_order() {
    let server = server();
    let room = server.create(ALICE, &json!({"invite": [BOB]}));
    let wakes = server.host.wakes();
    for topic in [format!("room:{room}"), format!("user:{ALICE}"), format!("user:{BOB}")] {
        assert!(wakes.contains(&topic), "{topic}");
    }
    let messages = server.host.messages("rooms.events");
    let events = server.events(&room);
    assert_eq!(messages.len(), events.len());
    for ((message, event), offset) in messages.iter().zip(&events).zip(0..) {
        assert_eq!(message["type"], event["type"]);
        assert_eq!(message["offset"], offset);
        assert_eq!(message["room_id"], room.as_str());
    }
}

#[test]
fn invite_shows_the_room() {
    let server = server();
    let room = server.create(ALICE, &json!({"name": "N", "invite": [BOB], "is_direct": true}));
    let rows = server.rows::<(String, String)>(
        "SELECT membership, stripped_state FROM rooms_v1_memberships WHERE user_id = $1 AND room_id = $2",
        tessera_sdk::params![BOB, &room],
    );
    let (membership, stripped) = &rows[0];
    let stripped: Vec<Value> = serde_json::from_str(stripped).unwrap();
    assert_eq!(membership, "invite");
    assert_eq!(
        types(&stripped),
        ["m.room.create", "m.room.join_rules", "m.room.name", "m.room.member", "m.room.member"]
    );
    assert_eq!(stripped[3]["state_key"], ALICE);
    assert_eq!(stripped[4]["content"]["is_direct"], true);
    let keys: Vec<_> = stripped[4].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["content", "sender", "state_key", "type"]);
}
