//! Syncs with a token.

use serde_json::json;

use crate::world::*;

#[test]
fn only_what_is_new_is_told() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    let quiet = world.since(ALICE, &first);
    assert!(quiet.get("rooms").is_none(), "{quiet}");
    let id = world.say(ROOM, BOB, "hi");
    let body = world.since(ALICE, &first);
    assert!(world.host.calls() <= 2, "a message needs no state");
    let room = joined(&body, ROOM);
    assert_eq!(ids(&room["timeline"]["events"]), [id]);
    assert_eq!(room["timeline"]["limited"], false);
    assert_eq!(room["state"]["events"], json!([]));
    assert!(room.get("summary").is_none());
    assert!(world.since(ALICE, &token(&body)).get("rooms").is_none());
}

#[test]
fn gaps_are_limited_and_state_that_changed_in_them_is_told() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    let topic = world.state(ROOM, BOB, "m.room.topic", "", json!({ "topic": "x" }));
    let sent: Vec<String> = (0..12).map(|n| world.say(ROOM, BOB, &n.to_string())).collect();
    let body = world.since(ALICE, &first);
    let room = joined(&body, ROOM);
    assert_eq!(room["timeline"]["limited"], true);
    assert_eq!(ids(&room["timeline"]["events"]), sent[2..]);
    assert_eq!(ids(&room["state"]["events"]), [topic]);
    let prev = room["timeline"]["prev_batch"].as_str().unwrap();
    let page =
        world.room_get(ALICE, "messages", &[("dir", "b"), ("from", prev), ("to", &first)]).ok();
    assert_eq!(page["chunk"].as_array().unwrap().len(), 3, "just the gap");
}

#[test]
fn state_in_the_timeline_is_not_repeated_and_names_what_it_replaced() {
    let world = world_with_room();
    world.state(ROOM, BOB, "m.room.topic", "", json!({ "topic": "one" }));
    let first = token(&world.sync(ALICE, &[]));
    world.state(ROOM, BOB, "m.room.topic", "", json!({ "topic": "two" }));
    let body = world.since(ALICE, &first);
    let room = joined(&body, ROOM);
    assert_eq!(room["state"]["events"], json!([]));
    let unsigned = &room["timeline"]["events"][0]["unsigned"];
    assert_eq!(unsigned["prev_content"]["topic"], "one");
    let body = world.sync(ALICE, &[("since", &first), ("use_state_after", "true")]);
    let state = &joined(&body, ROOM)["state_after"]["events"];
    assert_eq!(state[0]["content"]["topic"], "two");
}

#[test]
fn full_state_tells_every_room_whole() {
    let world = world_with_room();
    world.create("!other:hs1", ALICE);
    let first = token(&world.sync(ALICE, &[]));
    let body =
        world.sync(ALICE, &[("since", &first), ("full_state", "true"), ("timeout", "30000")]);
    assert_eq!(joined(&body, ROOM)["state"]["events"].as_array().unwrap().len(), 4);
    assert_eq!(joined(&body, "!other:hs1")["state"]["events"].as_array().unwrap().len(), 3);
}

#[test]
fn redacted_events_say_why() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    let id = world.say(ROOM, BOB, "oops");
    let redaction = world.redact(ROOM, BOB, &id);
    let body = world.since(ALICE, &first);
    let event = &joined(&body, ROOM)["timeline"]["events"][0];
    assert_eq!(event["unsigned"]["redacted_because"]["event_id"], redaction);
    assert_eq!(event["unsigned"]["redacted_because"]["redacts"], id);
}

#[test]
fn account_data_is_told_when_it_changes() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    world.account_data(ALICE, "", "org.global", &json!({ "a": 1 }));
    world.account_data(ALICE, ROOM, "m.tag", &json!({ "tags": {} }));
    world.account_data(ALICE, "!elsewhere:hs1", "m.tag", &json!({ "tags": {} }));
    world.account_data(BOB, "", "org.global", &json!({ "b": 1 }));
    let body = world.since(ALICE, &first);
    assert_eq!(
        body["account_data"]["events"],
        json!([{ "type": "org.global", "content": { "a": 1 } }])
    );
    assert_eq!(
        joined(&body, ROOM)["account_data"]["events"],
        json!([{ "type": "m.tag", "content": { "tags": {} } }])
    );
    assert!(joined(&body, "!elsewhere:hs1").is_null());
    assert!(world.since(ALICE, &token(&body)).get("account_data").is_none());
}

#[test]
fn changed_push_rules_are_told() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    world.run(
        "push",
        "INSERT INTO push_rules (user_id, content, position) VALUES ($1, $2, $P)",
        tessera_sdk::params![ALICE, r#"{"global":{"room":[]}}"#],
        "",
    );
    let body = world.since(ALICE, &first);
    assert_eq!(body["account_data"]["events"][0]["content"], json!({ "global": { "room": [] } }));
    let body = world.sync(ALICE, &[]);
    assert_eq!(body["account_data"]["events"][0]["content"], json!({ "global": { "room": [] } }));
}

#[test]
fn ignored_users_are_silent_but_for_state() {
    let world = world_with_room();
    world.account_data(ALICE, "", "m.ignored_user_list", &json!({ "ignored_users": { BOB: {} } }));
    let first = token(&world.sync(ALICE, &[]));
    world.say(ROOM, BOB, "spam");
    let topic = world.state(ROOM, BOB, "m.room.topic", "", json!({ "topic": "x" }));
    world.create("!spam:hs1", BOB);
    world.member("!spam:hs1", BOB, ALICE, "invite");
    let body = world.since(ALICE, &first);
    assert_eq!(ids(&joined(&body, ROOM)["timeline"]["events"]), [topic]);
    assert!(body["rooms"].get("invite").is_none());
    let page = world.room_get(ALICE, "messages", &[("dir", "b")]).ok();
    assert!(!page.to_string().contains("spam"));
}
