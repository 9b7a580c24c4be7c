//! Initial syncs.

use serde_json::json;

use crate::world::*;

#[test]
fn initial_sync_tells_timeline_and_state_once_each() {
    let world = world_with_room();
    let body = world.sync(ALICE, &[]);
    let room = joined(&body, ROOM);
    let timeline = types(&room["timeline"]["events"]);
    assert_eq!(
        timeline,
        ["m.room.create", "m.room.member", "m.room.power_levels", "m.room.member"]
    );
    assert_eq!(room["timeline"]["limited"], false);
    assert_eq!(room["timeline"]["prev_batch"], body["next_batch"], "nothing lies before");
    assert_eq!(room["state"]["events"], json!([]), "the timeline shows it all");
    assert_eq!(room["summary"]["m.heroes"], json!([BOB]));
    assert_eq!(room["summary"]["m.joined_member_count"], 2);
    assert_eq!(room["summary"]["m.invited_member_count"], 0);
    assert_eq!(
        room["unread_notifications"],
        json!({ "notification_count": 0, "highlight_count": 0 })
    );
    assert_eq!(body["device_lists"], json!({ "changed": [], "left": [] }));
    assert_eq!(body["device_one_time_keys_count"], json!({ "signed_curve25519": 0 }));
    assert_eq!(body["device_unused_fallback_key_types"], json!([]));
    assert_eq!(body["account_data"]["events"][0]["type"], "m.push_rules");
    assert_eq!(world.host.calls(), 3, "all rooms, whatever their number");
}

#[test]
fn events_of_sync_carry_no_room_id_and_what_belongs_to_the_reader() {
    let world = world_with_room();
    let id = world.say(ROOM, ALICE, "hi");
    world.run(
        "rooms",
        "INSERT INTO rooms_transactions (user_id, device_id, path, txn_id, event_id, created_ms) \
         VALUES ($1, 'D', 'p', 't1', $2, 1)",
        tessera_sdk::params![ALICE, &id],
        "",
    );
    world.host.advance(500);
    let body = world.sync(ALICE, &[]);
    let event = &joined(&body, ROOM)["timeline"]["events"][4];
    assert_eq!(event["event_id"], id);
    assert!(event.get("room_id").is_none());
    assert_eq!(
        event["unsigned"],
        json!({ "age": 500, "transaction_id": "t1", "membership": "join" })
    );
    let body = world.sync(BOB, &[]);
    let event = &joined(&body, ROOM)["timeline"]["events"][4];
    assert!(event["unsigned"].get("transaction_id").is_none());
}

#[test]
fn long_timelines_are_limited_and_start_with_the_state_before_them() {
    let world = world_with_room();
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "one" }));
    let sent: Vec<String> = (0..9).map(|n| world.say(ROOM, BOB, &n.to_string())).collect();
    let topic = world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "two" }));
    let body = world.sync(ALICE, &[("filter", r#"{"room":{"timeline":{"limit":4}}}"#)]);
    let room = joined(&body, ROOM);
    let mut expected: Vec<&str> = sent.iter().skip(6).map(String::as_str).collect();
    expected.push(&topic);
    assert_eq!(ids(&room["timeline"]["events"]), expected);
    assert_eq!(room["timeline"]["limited"], true);
    let state = room["state"]["events"].as_array().unwrap();
    let old = state.iter().find(|e| e["type"] == "m.room.topic").unwrap();
    assert_eq!(old["content"]["topic"], "one", "as it was before the timeline");
    assert_eq!(state.len(), 5);
    let newest = &room["timeline"]["events"][3];
    assert_eq!(newest["unsigned"]["prev_content"]["topic"], "one");
    assert_eq!(newest["unsigned"]["replaces_state"], old["event_id"]);

    // What the timeline left out is found by its prev_batch.
    let from = room["timeline"]["prev_batch"].as_str().unwrap();
    let page =
        world.room_get(ALICE, "messages", &[("dir", "b"), ("from", from), ("limit", "3")]).ok();
    let expected: Vec<&str> = sent.iter().take(6).rev().take(3).map(String::as_str).collect();
    assert_eq!(ids(&page["chunk"]), expected);
}

#[test]
fn state_after_is_the_state_at_the_end() {
    let world = world_with_room();
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "one" }));
    world.say(ROOM, BOB, "x");
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "two" }));
    for (param, answered) in [
        ("use_state_after", "state_after"),
        ("org.matrix.msc4222.use_state_after", "org.matrix.msc4222.state_after"),
    ] {
        let filter = r#"{"room":{"timeline":{"limit":2}}}"#;
        let body = world.sync(ALICE, &[("filter", filter), (param, "true")]);
        let room = joined(&body, ROOM);
        assert!(room.get("state").is_none());
        let state = room[answered]["events"].as_array().unwrap();
        let topic = state.iter().find(|e| e["type"] == "m.room.topic").unwrap();
        assert_eq!(topic["content"]["topic"], "two");
        assert_eq!(state.len(), 5);
    }
}

#[test]
fn rooms_that_were_left_are_told_only_where_asked_for() {
    let world = world_with_room();
    world.leave(ROOM, BOB);
    world.say(ROOM, ALICE, "they are gone");
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "secret" }));
    assert!(world.sync(BOB, &[]).get("rooms").is_none());
    let body = world.sync(BOB, &[("filter", r#"{"room":{"include_leave":true}}"#)]);
    let room = &body["rooms"]["leave"][ROOM];
    assert_eq!(types(&room["timeline"]["events"]).last().unwrap(), &"m.room.member");
    assert!(!body.to_string().contains("secret"));
    assert!(!body.to_string().contains("they are gone"));
}

#[test]
fn declined_invites_do_not_open_the_room() {
    let world = world_with_room();
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "secret" }));
    world.member(ROOM, ALICE, CAROL, "invite");
    world.leave(ROOM, CAROL);
    let body = world.sync(CAROL, &[("filter", r#"{"room":{"include_leave":true}}"#)]);
    assert!(!body.to_string().contains("secret"), "{body}");
}

#[test]
fn malformed_parameters_are_refused() {
    let world = world();
    for (query, code) in [
        (("since", "garbage"), "M_INVALID_PARAM"),
        (("since", "s-1"), "M_INVALID_PARAM"),
        (("timeout", "soon"), "M_INVALID_PARAM"),
        (("full_state", "perhaps"), "M_INVALID_PARAM"),
        (("filter", "{"), "M_NOT_JSON"),
        (("filter", r#"{"room":5}"#), "M_BAD_JSON"),
        (("filter", "nosuch"), "M_NOT_FOUND"),
    ] {
        let (_, error) = world.get(ALICE, "sync", &[], &[query]).error();
        assert_eq!(error, code, "{query:?}");
    }
    let answer = world.get(
        ALICE,
        "sync",
        &[],
        &[("filter", &format!("{{\"a\":\"{}\"}}", "x".repeat(20_000)))],
    );
    assert_eq!(answer.error().1, "M_INVALID_PARAM");
}
