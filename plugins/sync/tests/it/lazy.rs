//! Lazily loaded members.

use serde_json::Value;

use crate::world::*;

const LAZY: &str = r#"{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":2}}}"#;

fn members(room: &Value) -> Vec<&str> {
    let state = room["state"]["events"].as_array().unwrap();
    let members = state.iter().filter(|event| event["type"] == "m.room.member");
    members.map(|event| event["state_key"].as_str().unwrap()).collect()
}

/// Eight more members, each of whom has said something.
fn crowd() -> World {
    let world = world_with_room();
    for n in 0..8 {
        world.join(ROOM, &format!("@user{n}:hs1"));
    }
    world
}

#[test]
fn initial_sync_has_members_who_speak_oneself_and_heroes() {
    let world = crowd();
    world.say(ROOM, "@user7:hs1", "x");
    world.say(ROOM, BOB, "y");
    let body = world.sync(ALICE, &[("filter", LAZY)]);
    let mut found = members(joined(&body, ROOM));
    found.sort_unstable();
    let mut expected = vec![ALICE, BOB, "@user7:hs1"];
    let heroes = joined(&body, ROOM)["summary"]["m.heroes"].as_array().unwrap();
    assert_eq!(heroes.len(), 5);
    expected.extend(heroes.iter().map(|hero| hero.as_str().unwrap()));
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(found, expected);
    let others = joined(&body, ROOM)["state"]["events"].as_array().unwrap().len() - found.len();
    assert_eq!(others, 2, "create and power levels");
}

#[test]
fn members_are_sent_once_to_a_device() {
    let world = crowd();
    let first = token(&world.sync(ALICE, &[("filter", LAZY)]));
    world.say(ROOM, "@user5:hs1", "x");
    let body = world.sync(ALICE, &[("since", &first), ("filter", LAZY)]);
    assert_eq!(members(joined(&body, ROOM)), ["@user5:hs1"]);
    world.say(ROOM, "@user5:hs1", "y");
    let next = token(&body);
    let body = world.sync(ALICE, &[("since", &next), ("filter", LAZY)]);
    assert_eq!(world.host.calls(), 2, "nothing to fetch");
    assert!(members(joined(&body, ROOM)).is_empty());
    let redundant = LAZY.replace("true}", r#"true,"include_redundant_members":true}"#);
    let body = world.sync(ALICE, &[("since", &next), ("filter", &redundant)]);
    assert_eq!(members(joined(&body, ROOM)), ["@user5:hs1"]);
}

#[test]
fn who_speaks_in_messages_is_told_there() {
    let world = crowd();
    world.say(ROOM, BOB, "x");
    let query = [("dir", "b"), ("limit", "1"), ("filter", r#"{"lazy_load_members":true}"#)];
    let page = world.room_get(ALICE, "messages", &query).ok();
    assert_eq!(page["state"][0]["state_key"], BOB);
    assert_eq!(page["state"].as_array().unwrap().len(), 1);
}
