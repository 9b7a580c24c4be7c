//! Several writers: rows can be seen whose positions lie above the horizon.

use serde_json::json;
use tessera_sdk::http::WakeReason::Woken;

use super::*;

fn hold(world: &World) {
    world.host.hold_horizon(world.host.horizon());
}

#[test]
fn what_lies_above_is_told_when_the_horizon_has_come_there() {
    let world = world_with_room();
    let mut wish = all();
    wish["extensions"] = json!({ "account_data": { "enabled": true }, "receipts": { "enabled": true },
        "typing": { "enabled": true } });
    let first = next(&world, ALICE, &wish, None);
    let below = world.say(ROOM, BOB, "below");
    hold(&world);
    let above = world.say(ROOM, BOB, "above");
    world.state(ROOM, BOB, "m.room.topic", "", json!({ "topic": "above" }));
    world.account_data(ALICE, ROOM, "org.above", &json!({}));
    world.receipt(ROOM, BOB, "m.read", "", &above);
    world.typing(ROOM, BOB, world.host.now_ms() + 1000);
    let body = next(&world, ALICE, &wish, Some(&first));
    assert_eq!(timeline(&body, ROOM), [below]);
    assert!(!body.to_string().contains("above"), "{body}");
    let mut poll = with_pos(&wish, &pos(&body));
    poll["timeout"] = 30_000.into();
    let answer = ask(&world, ALICE, &poll);
    assert!(answer.parked().is_some());
    world.host.release_horizon();
    let body = world.resume(&answer, Woken).ok();
    assert_eq!(timeline(&body, ROOM)[0], above);
    assert_eq!(state(&body, ROOM), ["m.room.topic"]);
    assert_eq!(types(&body["extensions"]["account_data"]["rooms"][ROOM]), ["org.above"]);
    assert!(body["extensions"]["receipts"]["rooms"][ROOM].is_object());
    assert!(body["extensions"]["typing"]["rooms"][ROOM].is_object());
}

#[test]
fn a_first_answer_ends_at_the_horizon() {
    let world = world_with_room();
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "below" }));
    hold(&world);
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "above" }));
    world.create("!above:hs1", ALICE);
    let first = next(&world, ALICE, &all(), None);
    assert_eq!(told(&first), [ROOM]);
    assert!(first.to_string().contains("below") && !first.to_string().contains("above"), "{first}");
    world.host.release_horizon();
    let body = next(&world, ALICE, &all(), Some(&first));
    assert_eq!(body["rooms"]["!above:hs1"]["initial"], true);
    assert_eq!(state(&body, ROOM), ["m.room.topic"]);
}

#[test]
fn a_leave_above_leaves_the_user_in_the_room() {
    let world = world_with_room();
    let first = next(&world, BOB, &all(), None);
    let below = world.say(ROOM, ALICE, "below");
    hold(&world);
    let kick = world.member(ROOM, ALICE, BOB, "leave");
    let body = next(&world, BOB, &all(), Some(&first));
    assert_eq!(timeline(&body, ROOM), [below]);
    assert_eq!(body["rooms"][ROOM]["membership"], "join");
    world.host.release_horizon();
    let body = next(&world, BOB, &all(), Some(&body));
    assert_eq!(timeline(&body, ROOM), [kick]);
    assert_eq!(body["rooms"][ROOM]["membership"], "leave");
}

#[test]
fn an_invite_accepted_above_is_told_as_a_join_later() {
    let world = world_with_room();
    world.member(ROOM, ALICE, CAROL, "invite");
    let first = next(&world, CAROL, &all(), None);
    hold(&world);
    let join = world.join(ROOM, CAROL);
    let body = next(&world, CAROL, &all(), Some(&first));
    assert!(told(&body).is_empty(), "{body}");
    world.host.release_horizon();
    let body = next(&world, CAROL, &all(), Some(&body));
    assert_eq!(body["rooms"][ROOM]["initial"], true);
    assert_eq!(timeline(&body, ROOM).last(), Some(&join.as_str()));
}

#[test]
fn a_small_timeline_is_not_crowded_out_by_what_lies_above() {
    let world = world_with_room();
    let first = next(&world, ALICE, &all(), None);
    let below: Vec<String> = (0..3).map(|n| world.say(ROOM, BOB, &n.to_string())).collect();
    hold(&world);
    for n in 0..15 {
        world.say(ROOM, BOB, &n.to_string());
    }
    let body = next(&world, ALICE, &all(), Some(&first));
    assert_eq!(timeline(&body, ROOM), below);
    assert_eq!(body["rooms"][ROOM]["limited"], false);
}
