//! Events that came late are seen by their own past.

use serde_json::json;

use crate::sliding::{ask, pos, with_pos};
use crate::world::*;

/// What the past of an event says of a user, or (empty) of the room's setting.
fn late(world: &World, event: &str, user: &str, values: &str) {
    let (before, after) = values.split_once(' ').unwrap();
    world.run(
        "rooms",
        "INSERT INTO rooms_late (position, user_id, room_id, value_before, value_after) \
         SELECT position, $2, room_id, $3, $4 FROM rooms_events WHERE event_id = $1",
        tessera_sdk::params![event, user, before, after],
        "",
    );
}

/// Bob joins a room where only members see what is said.
fn world_of_members() -> World {
    let world = world();
    world.create(ROOM, ALICE);
    world.visibility(ROOM, ALICE, "joined");
    world.join(ROOM, BOB);
    world
}

fn timeline(body: &serde_json::Value) -> Vec<&str> {
    ids(&joined(body, ROOM)["timeline"]["events"])
}

#[test]
fn what_was_sent_before_a_join_is_not_seen_however_late_it_comes() {
    let world = world_of_members();
    let before = token(&world.sync(BOB, &[]));
    let wish =
        json!({ "room_subscriptions": { ROOM: { "timeline_limit": 5, "required_state": [] } } });
    let slid = pos(&ask(&world, BOB, &wish).ok());
    let hidden = world.say(ROOM, CAROL, "sent on another branch");
    late(&world, &hidden, BOB, "leave leave");
    let topic = world.state(ROOM, CAROL, "m.room.topic", "", json!({ "topic": "t" }));
    late(&world, &topic, "*", "leave leave");
    let shown = world.say(ROOM, CAROL, "hello");
    late(&world, &shown, "*", "leave leave");
    late(&world, &shown, BOB, "join join");

    let body = world.since(BOB, &before);
    assert_eq!(timeline(&body), [&*topic, &*shown], "state in force stays");
    let event = &joined(&body, ROOM)["timeline"]["events"][1];
    assert_eq!(event["unsigned"]["membership"], "join");
    assert!(!timeline(&world.sync(BOB, &[])).contains(&&*hidden));
    let body = ask(&world, BOB, &with_pos(&wish, &slid)).ok();
    let events = ids(&body["rooms"][ROOM]["timeline"]);
    assert!(events.contains(&&*shown) && !events.contains(&&*hidden), "{events:?}");
    let page = world.room_get(BOB, "messages", &[("dir", "b"), ("limit", "5")]).ok();
    assert!(!ids(&page["chunk"]).contains(&&*hidden));
    let get = |user: &str, route: &str, event: &str| {
        let params = [("roomId", ROOM), ("eventId", event)];
        world.get(user, route, &params, &[]).status()
    };
    for route in ["context", "relations"] {
        assert_eq!(get(BOB, route, &hidden), 404, "{route}");
        assert_eq!(get(BOB, route, &shown), 200, "{route}");
        assert_eq!(get(ALICE, route, &hidden), 200, "{route}");
    }
    assert!(timeline(&world.sync(ALICE, &[])).contains(&&*hidden));
}

#[test]
fn a_setting_of_its_own_decides_of_a_late_event() {
    let world = world_of_members();
    let early = world.say(ROOM, ALICE, "sent when the history was shared");
    for user in [BOB, CAROL] {
        late(&world, &early, user, "leave leave");
    }
    late(&world, &early, "", "shared shared");
    let shut = world.say(ROOM, ALICE, "sent when it no longer was");
    late(&world, &shut, BOB, "leave leave");
    let body = world.sync(BOB, &[]);
    let events = timeline(&body);
    assert!(events.contains(&&*early) && !events.contains(&&*shut), "{events:?}");
    let at = |ts: &str| world.room_get(BOB, "timestamp", &[("ts", ts), ("dir", "b")]).ok();
    let found = at(&world.host.now_ms().to_string());
    assert_eq!(found["event_id"], early, "the newest that is seen");
}
