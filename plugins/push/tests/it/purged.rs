//! Rooms that are deleted, and parts of their history.

use serde_json::json;
use tessera_plugin_push::Plugin;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch};

use crate::world::*;

fn purge(world: &World, gone: bool, before: u64) {
    purge_but(world, gone, before, "");
}

/// Events of a sender stay.
fn purge_but(world: &World, gone: bool, before: u64, sender: &str) {
    let payload = json!({ "room_id": ROOM, "gone": gone, "before": before }).to_string();
    let mut batch = Batch::new().emit("rooms.purged", ROOM, payload);
    for (at, what) in [("<", !gone), (">", gone)] {
        if what {
            let sql = format!(
                "DELETE FROM rooms_events WHERE room_id = $1 AND position {at} $2 AND sender <> $3"
            );
            batch = batch.run(&sql, params![ROOM, if gone { 0 } else { before }, sender]);
        }
    }
    if gone {
        batch = batch.run("DELETE FROM rooms_rooms WHERE room_id = $1", params![ROOM]);
    }
    world.host.acting("rooms", || batch.commit()).unwrap();
    assert_eq!(world.host.deliver::<Plugin>("push", "rooms.purged"), 1);
}

fn rows(table: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) AS n FROM {table}");
    storage::query(&sql, params![]).unwrap().first::<(i64,)>().unwrap().unwrap().0
}

#[test]
fn of_a_room_that_is_gone_nothing_stays() {
    let world = world_with_room();
    world.mute(CAROL);
    world.say(ALICE, "one");
    world.deliver();
    world.say(ALICE, "comes too late");
    purge(&world, true, 0);
    world.deliver();
    for table in ["push_rooms", "push_marks", "push_totals", "push_events", "push_exceptions"] {
        assert_eq!(rows(table), 0, "{table}");
    }
}

#[test]
fn what_is_purged_does_not_count_any_more() {
    let world = world_with_room();
    world.mute(CAROL);
    world.say(ALICE, "one");
    world.say(ALICE, "two");
    let third = world.say(ALICE, "three");
    world.deliver();
    assert_eq!(world.unread(BOB), (3, 0));
    let _ = world.host.wakes();
    purge(&world, false, third.position);
    world.fire_timers();
    assert_eq!(world.unread(BOB), (1, 0));
    assert_eq!(world.unread(CAROL), (0, 0));
    assert_eq!(world.host.wakes(), [format!("room:{ROOM}")]);
    assert_eq!((rows("push_events"), rows("push_exceptions")), (1, 1));
    world.say(ALICE, "four");
    world.deliver();
    assert_eq!(world.unread(BOB), (2, 0));
}

#[test]
fn what_stays_of_local_users_counts_on() {
    let world = world_with_room();
    world.say(ALICE, "goes");
    world.say(BOB, "stays");
    let third = world.say(ALICE, "three");
    world.deliver();
    purge_but(&world, false, third.position, BOB);
    world.fire_timers();
    assert_eq!(world.unread(CAROL), (2, 0));
    assert_eq!(world.unread(BOB), (1, 0));
    assert_eq!(world.unread(ALICE), (0, 0));
}

#[test]
fn nobody_is_counted_where_nothing_went_that_counted() {
    let world = world_with_room();
    let first = world.say(ALICE, "one");
    world.deliver();
    let before = world.count_row(BOB, "");
    let _ = world.host.wakes();
    purge(&world, false, first.position);
    world.fire_timers();
    assert_eq!(world.count_row(BOB, ""), before);
    assert!(world.host.wakes().is_empty());
    assert_eq!(rows("push_purges"), 0);
}

#[test]
fn many_who_read_nothing_are_counted_slice_by_slice() {
    let world = world_with_room();
    let users: Vec<String> = (0..250).map(|n| format!("@idle{n}:hs1")).collect();
    world.join_all(ROOM, users.iter().cloned());
    let root = world.say(ALICE, "0");
    for n in 1..40 {
        world.say(ALICE, &n.to_string());
    }
    world.send(ALICE, &threaded(&root.id));
    let last = world.say(ALICE, "stays");
    world.send(ALICE, &threaded(&root.id));
    world.deliver();
    purge(&world, false, last.position);
    world.fire_timers();
    for user in &users {
        assert_eq!((world.unread(user), world.unread_in(user, &root.id)), ((1, 0), (1, 0)));
    }
    assert_eq!((rows("push_purges"), rows("push_recounts"), rows("push_events")), (0, 0, 2));
}
