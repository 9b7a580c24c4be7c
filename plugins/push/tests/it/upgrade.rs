//! Rules about a room that another one replaces.

use serde_json::{Value, json};

use crate::world::*;

const NEW: &str = "!new:hs1";

/// A room that says to follow `ROOM`, made by alice.
fn successor(world: &World) {
    world.create(NEW, ALICE);
    let create = json!({ "room_version": "11", "predecessor": { "room_id": ROOM } });
    world.state(NEW, ALICE, "m.room.create", "", &create);
}

fn tombstone(world: &World) {
    let content = json!({ "body": "moved", "replacement_room": NEW });
    world.state(ROOM, ALICE, "m.room.tombstone", "", &content);
}

fn rules(world: &World, user: &str) -> Value {
    world.request(user, "GET", "rules-global", &[], None).ok()
}

fn ids(world: &World, user: &str, kind: &str) -> Vec<String> {
    let rules = rules(world, user);
    let rules = rules[kind].as_array().unwrap().iter();
    let own = rules.filter(|rule| rule["default"] == false);
    own.map(|rule| rule["rule_id"].as_str().unwrap().to_owned()).collect()
}

/// As clients mute a room for good.
fn override_for(world: &World, user: &str) {
    let conditions = json!([{ "kind": "event_match", "key": "room_id", "pattern": ROOM }]);
    let body = json!({ "actions": [], "conditions": conditions });
    world.rule(user, "override", ROOM, &body).ok();
}

#[test]
fn who_joins_the_new_room_keeps_the_rules_of_the_old() {
    let world = world_with_room();
    world.mute(BOB);
    override_for(&world, BOB);
    successor(&world);
    tombstone(&world);
    world.join(NEW, BOB);
    world.deliver();
    assert_eq!(ids(&world, BOB, "room"), [ROOM, NEW]);
    assert_eq!(ids(&world, BOB, "override"), [NEW, ROOM]);
    assert_eq!(rules(&world, BOB)["override"][1]["conditions"][0]["pattern"], NEW);
    world.event(NEW, ALICE, "m.room.message", None, &json!({ "body": "hi" }));
    world.deliver();
    assert!(ids(&world, CAROL, "room").is_empty());
}

#[test]
fn who_made_the_new_room_before_the_old_one_said_so_keeps_them_too() {
    let world = world_with_room();
    world.mute(ALICE);
    successor(&world);
    world.deliver();
    assert_eq!(ids(&world, ALICE, "room"), [ROOM], "anybody could claim that");
    tombstone(&world);
    world.deliver();
    world.fire_timers();
    assert_eq!(ids(&world, ALICE, "room"), [ROOM, NEW]);
}

#[test]
fn a_tombstone_that_says_the_same_again_asks_for_nothing() {
    let world = world_with_room();
    world.mute(ALICE);
    successor(&world);
    tombstone(&world);
    world.deliver();
    world.fire_timers();
    world.request(ALICE, "DELETE", "rule", &[("kind", "room"), ("ruleId", NEW)], None).ok();
    tombstone(&world);
    world.deliver();
    world.fire_timers();
    assert_eq!(ids(&world, ALICE, "room"), [ROOM]);
}

#[test]
fn rules_of_many_are_carried_over_page_by_page() {
    let world = world_with_room();
    successor(&world);
    let users: Vec<String> = (0..120).map(|n| format!("@muted{n}:hs1")).collect();
    for room in [ROOM, NEW] {
        world.join_all(room, users.iter().cloned());
    }
    world.rules_of(users.iter().map(|user| (user.clone(), "[]")));
    tombstone(&world);
    world.deliver();
    assert!(ids(&world, &users[0], "room") == [ROOM], "not while events wait");
    for _ in 0..20 {
        world.fire_timers();
        world.host.advance(1000);
    }
    for user in &users {
        assert_eq!(ids(&world, user, "room"), [ROOM, NEW], "{user}");
    }
}

#[test]
fn rules_that_the_new_room_has_are_left_alone() {
    let world = world_with_room();
    world.mute(BOB);
    world.rule(BOB, "room", NEW, &json!({ "actions": ["notify"] })).ok();
    successor(&world);
    tombstone(&world);
    world.join(NEW, BOB);
    world.deliver();
    let params = [("kind", "room"), ("ruleId", NEW)];
    let rule = world.request(BOB, "GET", "rule", &params, None).ok();
    assert_eq!(rule["actions"], json!(["notify"]));
}
