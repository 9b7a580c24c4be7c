//! Coming and going.

use serde_json::json;

use crate::world::*;

const DAVE: &str = "@dave:hs1";

#[test]
fn what_was_before_a_join_does_not_count() {
    let world = world_with_room();
    world.say(ALICE, "1");
    world.deliver();
    world.join(ROOM, DAVE);
    world.deliver();
    assert_eq!(world.unread(DAVE), (0, 0));
    world.say(ALICE, "2");
    world.deliver();
    assert_eq!(world.unread(DAVE), (1, 0));
    assert_eq!(world.unread(BOB), (2, 0));
}

#[test]
fn a_join_between_messages_of_one_batch_counts_from_there() {
    let world = world_with_room();
    world.say(ALICE, "1");
    world.send(ALICE, &mention(DAVE));
    world.join(ROOM, DAVE);
    world.say(ALICE, "3");
    world.deliver();
    assert_eq!(world.unread(DAVE), (1, 0));
}

#[test]
fn a_join_that_is_evaluated_later_counts_from_there() {
    let world = world_with_room();
    // 64 messages make one batch: the join is in the second.
    for n in 0..70 {
        world.say(ALICE, &n.to_string());
    }
    world.join(ROOM, DAVE);
    world.say(ALICE, "after");
    world.deliver();
    assert_eq!(world.unread(DAVE), (1, 0));
    assert_eq!(world.unread(BOB), (71, 0));
}

#[test]
fn a_profile_change_keeps_the_count() {
    let world = world_with_room();
    world.say(ALICE, "1");
    world.join(ROOM, BOB);
    world.deliver();
    world.say(ALICE, "2");
    world.join(ROOM, BOB);
    world.deliver();
    assert_eq!(world.unread(BOB), (2, 0));
}

#[test]
fn who_leaves_has_no_count_and_starts_anew() {
    let world = world_with_room();
    world.say(ALICE, "1");
    world.deliver();
    world.member(ROOM, BOB, BOB, "leave");
    world.send(ALICE, &mention(BOB));
    world.deliver();
    assert_eq!(world.count_row(BOB, ""), None);
    world.join(ROOM, BOB);
    world.say(ALICE, "3");
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 0));
    world.member(ROOM, BOB, BOB, "leave");
    world.say(ALICE, "4");
    world.join(ROOM, BOB);
    world.say(ALICE, "5");
    world.say(ALICE, "6");
    world.deliver();
    assert_eq!(world.unread(BOB), (2, 0));
}

#[test]
fn remote_members_have_no_counts_but_make_the_room_larger() {
    let world = world();
    world.create(ROOM, ALICE);
    world.join(ROOM, BOB);
    world.join(ROOM, "@far:hs2");
    world.join(ROOM, "@nearly:xhs1");
    let rule = json!({ "conditions": [{ "kind": "room_member_count", "is": "4" },
            { "kind": "event_match", "key": "type", "pattern": "m.room.message" }],
        "actions": ["notify", { "set_tweak": "highlight" }] });
    world.rule(BOB, "override", "four", &rule).ok();
    world.event(ROOM, "@far:hs2", "m.room.message", None, &mention("@nearly:xhs1"));
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 1));
    assert_eq!(world.unread(ALICE), (1, 0));
    assert_eq!(world.count_row("@far:hs2", ""), None);
    assert_eq!(world.count_row("@nearly:xhs1", ""), None);
}

#[test]
fn new_members_of_a_thread_have_its_news_only() {
    let world = world_with_room();
    let root = world.say(ALICE, "root");
    world.send(ALICE, &threaded(&root.id));
    world.deliver();
    world.join(ROOM, DAVE);
    world.deliver();
    world.send(ALICE, &threaded(&root.id));
    world.deliver();
    assert_eq!(world.unread_in(DAVE, &root.id), (1, 0));
    assert_eq!(world.unread_in(BOB, &root.id), (2, 0));
}

#[test]
fn who_was_taken_out_by_state_resolution_begins_anew() {
    let world = world_with_room();
    world.say(ALICE, "1");
    world.deliver();
    world.resolve(ROOM, BOB, "leave");
    world.say(ALICE, "while bob is out");
    world.deliver();
    world.join(ROOM, BOB);
    world.deliver();
    assert_eq!(world.unread(BOB), (0, 0));
    world.resolve(ROOM, BOB, "leave");
    world.say(ALICE, "out again");
    world.deliver();
    world.resolve(ROOM, BOB, "join");
    world.say(ALICE, "an older join is in force again");
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 0));
}

#[test]
fn a_member_event_that_is_not_in_force_changes_nothing() {
    let world = world_with_room();
    world.say(ALICE, "1");
    world.deliver();
    world.leave_in_vain(ROOM, BOB);
    world.say(ALICE, "2");
    world.deliver();
    assert_eq!(world.unread(BOB), (2, 0));
}
