//! Rooms that are deleted, and parts of their history.

use serde_json::json;
use tessera_plugin_push::Plugin;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch};

use crate::world::*;

fn purge(world: &World, gone: bool, before: u64) {
    let payload = json!({ "room_id": ROOM, "gone": gone, "before": before }).to_string();
    let mut batch = Batch::new().emit("rooms.purged", ROOM, payload);
    for (at, what) in [("<", !gone), (">", gone)] {
        if what {
            let sql = format!("DELETE FROM rooms_events WHERE room_id = $1 AND position {at} $2");
            batch = batch.run(&sql, params![ROOM, if gone { 0 } else { before }]);
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
    assert_eq!(world.unread(BOB), (1, 0));
    assert_eq!(world.unread(CAROL), (0, 0));
    assert_eq!(world.host.wakes(), [format!("room:{ROOM}")]);
    assert_eq!((rows("push_events"), rows("push_exceptions")), (1, 1));
    world.say(ALICE, "four");
    world.deliver();
    assert_eq!(world.unread(BOB), (2, 0));
}
