//! GET /notifications

use serde_json::{Value, json};
use tessera_plugin_push::Plugin;
use tessera_sdk::http::WakeReason::{Timeout, Woken};
use tessera_sdk::storage::Batch;

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

#[test]
fn what_was_sent_before_is_waited_for() {
    let world = world_with_room();
    let sent = world.say(ALICE, "just now");
    let answer = world.request(BOB, "GET", "notifications", &[], None);
    let parking = answer.parked().expect("it is not evaluated yet");
    assert_eq!(world.host.watched(parking.watch), ["push.progress"]);
    assert!(!world.host.watch_fired(parking.watch));
    world.deliver();
    assert!(world.host.watch_fired(parking.watch));
    // What came after the question does not make it wait longer.
    world.say(ALICE, "later");
    assert_eq!(ids(&answer.resume::<Plugin>(Woken).ok()), [&sent.id]);
}

#[test]
fn waiting_for_evaluation_ends() {
    let world = world_with_room();
    let first = world.say(ALICE, "1");
    world.deliver();
    world.say(ALICE, "2");
    let answer = world.request(BOB, "GET", "notifications", &[], None);
    let again = answer.resume::<Plugin>(Woken);
    assert!(again.parked().is_some(), "woken for another room");
    assert_eq!(ids(&again.resume::<Plugin>(Timeout).ok()), [&first.id]);
    world.host.advance(1000);
    assert_eq!(ids(&answer.resume::<Plugin>(Woken).ok()), [&first.id]);
    // Own messages and older pages are not waited for.
    assert!(world.request(ALICE, "GET", "notifications", &[], None).parked().is_none());
    list(&world, BOB, &[("?from", "1")]);
}

#[test]
fn an_invite_just_sent_is_waited_for() {
    let world = world_with_room();
    let invite = world.member(ROOM, ALICE, "@dave:hs1", "invite");
    let answer = world.request("@dave:hs1", "GET", "notifications", &[], None);
    assert!(answer.parked().is_some());
    world.deliver();
    assert_eq!(ids(&answer.resume::<Plugin>(Woken).ok()), [&invite.id]);
}

#[test]
fn who_is_no_member_is_told_nothing_whatever_became_of_their_marks() {
    let world = world_with_room();
    world.say(ALICE, "for members");
    world.deliver();
    assert_eq!(ids(&list(&world, BOB, &[])).len(), 1);
    // As when a resolution of state takes a join away: there is no event of it.
    let gone = "UPDATE rooms_memberships SET membership = 'leave' WHERE user_id = $1";
    world
        .host
        .acting("rooms", || Batch::new().run(gone, tessera_sdk::params![BOB]).commit())
        .unwrap();
    assert!(ids(&list(&world, BOB, &[])).is_empty());
}
