//! Reading.

use crate::world::*;

#[test]
fn a_receipt_clears_what_is_before_it() {
    let world = world_with_room();
    world.send(ALICE, &mention(BOB));
    let second = world.say(ALICE, "2");
    world.say(ALICE, "3");
    world.deliver();
    assert_eq!(world.unread(BOB), (3, 1));
    world.receipt(BOB, "", &second);
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 0));
    assert_eq!(world.unread(CAROL), (3, 0));
}

#[test]
fn a_receipt_in_a_room_of_which_nothing_is_evaluated_holds() {
    let world = world();
    world.create(ROOM, ALICE);
    world.join(ROOM, BOB);
    let event = world.say(ALICE, "1");
    world.receipt(BOB, "", &event);
    world.deliver_receipts();
    world.deliver_events();
    assert_eq!(world.unread(BOB), (0, 0));
    world.say(ALICE, "2");
    world.deliver_events();
    assert_eq!(world.unread(BOB), (1, 0));
}

#[test]
fn a_receipt_that_comes_while_its_event_is_evaluated_holds() {
    let world = world_with_room();
    let event = world.say(ALICE, "1");
    world.receipt(BOB, "", &event);
    world.host.before_next_commit(|host| {
        host.deliver::<tessera_plugin_push::Plugin>("push", "presence.receipts");
    });
    world.deliver_events();
    assert_eq!(world.unread(BOB), (0, 0));
}

#[test]
fn a_receipt_before_the_evaluation_holds() {
    let world = world_with_room();
    let event = world.say(ALICE, "1");
    world.receipt(BOB, "", &event);
    world.deliver_receipts();
    world.say(ALICE, "2");
    world.deliver_events();
    assert_eq!(world.unread(BOB), (1, 0));
    let event = world.say(ALICE, "3");
    world.receipt(BOB, "main", &event);
    world.deliver_receipts();
    world.deliver_events();
    assert_eq!(world.unread(BOB), (0, 0));
}

#[test]
fn receipts_do_not_go_back() {
    let world = world_with_room();
    let first = world.say(ALICE, "1");
    let second = world.say(ALICE, "2");
    world.receipt(BOB, "", &second);
    world.deliver();
    world.receipt(BOB, "main", &first);
    world.deliver();
    assert_eq!(world.unread(BOB), (0, 0));
}

#[test]
fn threads_are_read_apart_or_all_at_once() {
    let world = world_with_room();
    let root = world.say(ALICE, "root");
    let answer = world.send(ALICE, &threaded(&root.id));
    let last = world.say(ALICE, "last");
    world.deliver();
    world.receipt(BOB, "main", &last);
    world.deliver();
    assert_eq!((world.unread(BOB), world.unread_in(BOB, &root.id)), ((0, 0), (1, 0)));
    world.receipt(CAROL, &root.id, &answer);
    world.deliver();
    assert_eq!((world.unread(CAROL), world.unread_in(CAROL, &root.id)), ((2, 0), (0, 0)));
    world.receipt(BOB, "", &last);
    world.deliver();
    assert_eq!(world.unread_in(BOB, &root.id), (0, 0));
}

#[test]
fn a_receipt_wakes_its_user_and_moves_the_position_if_the_count_changes() {
    let world = world_with_room();
    let event = world.say(ALICE, "1");
    world.deliver();
    let before = world.count_row(BOB, "").unwrap().2;
    let _ = world.host.wakes();
    world.receipt(BOB, "", &event);
    world.deliver();
    assert!(world.host.wakes().contains(&format!("user:{BOB}")));
    let after = world.count_row(BOB, "").unwrap().2;
    assert!(before < after);
    world.receipt(BOB, "main", &event);
    world.deliver();
    assert_eq!(world.count_row(BOB, "").unwrap().2, after);
}
