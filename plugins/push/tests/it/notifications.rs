//! GET /notifications

use serde_json::{Value, json};

use crate::world::*;

fn list(world: &World, user: &str, query: &[(&str, &str)]) -> Value {
    world.request(user, "GET", "notifications", query, None).ok()
}

fn ids(body: &Value) -> Vec<&str> {
    let list = body["notifications"].as_array().unwrap();
    list.iter().map(|one| one["event"]["event_id"].as_str().unwrap()).collect()
}

#[test]
fn newest_come_first_with_actions_and_whether_they_are_read() {
    let world = world_with_room();
    let first = world.say(ALICE, "1");
    let second = world.send(ALICE, &mention(BOB));
    world.receipt(BOB, "", &first);
    world.deliver();
    let body = list(&world, BOB, &[]);
    assert_eq!(ids(&body), [&second.id, &first.id]);
    let [newer, older] = body["notifications"].as_array().unwrap().as_slice() else { panic!() };
    assert_eq!((&newer["read"], &older["read"]), (&json!(false), &json!(true)));
    assert_eq!(older["actions"], json!(["notify"]));
    assert_eq!(newer["actions"][2], json!({ "set_tweak": "highlight" }));
    assert_eq!(newer["room_id"], ROOM);
    assert_eq!(newer["ts"], world.host.now_ms());
    assert!(newer["event"].get("room_id").is_none());
    assert!(body.get("next_token").is_none());
    assert_eq!(ids(&list(&world, BOB, &[("?only", "highlight")])), [&second.id]);
    assert!(ids(&list(&world, ALICE, &[])).is_empty());
}

#[test]
fn pages_follow_one_another() {
    let world = world_with_room();
    let sent: Vec<String> = (0..5).map(|n| world.say(ALICE, &n.to_string()).id).collect();
    world.deliver();
    let first = list(&world, BOB, &[("?limit", "2")]);
    assert_eq!(ids(&first), [&sent[4], &sent[3]]);
    let next = first["next_token"].as_str().unwrap();
    let second = list(&world, BOB, &[("?limit", "3"), ("?from", next)]);
    assert_eq!(ids(&second), [&sent[2], &sent[1], &sent[0]]);
    let next = second["next_token"].as_str().unwrap();
    assert!(ids(&list(&world, BOB, &[("?from", next)])).is_empty());
}

#[test]
fn an_invite_notifies_the_invited() {
    let world = world_with_room();
    world.say(ALICE, "secret");
    let invite = world.member(ROOM, ALICE, "@dave:hs1", "invite");
    let far = world.member(ROOM, ALICE, "@far:hs2", "invite");
    assert_ne!(invite.id, far.id);
    world.deliver();
    let body = list(&world, "@dave:hs1", &[]);
    assert_eq!(ids(&body), [&invite.id]);
    assert_eq!(world.unread(BOB), (1, 0));
    // Who turned invites off hears of none.
    let params = [("kind", "override"), ("ruleId", ".m.rule.invite_for_me")];
    let off = json!({ "enabled": false });
    world.request("@eve:hs1", "PUT", "rule-enabled", &params, Some(&off)).ok();
    world.member(ROOM, ALICE, "@eve:hs1", "invite");
    world.deliver();
    assert!(ids(&list(&world, "@eve:hs1", &[])).is_empty());
}

#[test]
fn who_is_mentioned_from_outside_the_room_sees_nothing_of_it() {
    let world = world_with_room();
    world.send(ALICE, &mention("@dave:hs1"));
    world.deliver();
    assert!(ids(&list(&world, "@dave:hs1", &[])).is_empty());
    world.join(ROOM, "@dave:hs1");
    world.say(ALICE, "welcome");
    world.deliver();
    assert_eq!(ids(&list(&world, "@dave:hs1", &[])).len(), 1);
}

#[test]
fn malformed_parameters_are_refused() {
    let world = world_with_room();
    for bad in [("?from", "x"), ("?limit", "-1"), ("?only", "loud")] {
        let answer = world.request(BOB, "GET", "notifications", &[bad], None);
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()), "{bad:?}");
    }
}
