//! GET /threads.

use serde_json::json;

use crate::world::*;

fn reply(world: &World, sender: &str, root: &str) -> String {
    world.send(
        ROOM,
        sender,
        json!({ "m.relates_to": { "rel_type": "m.thread", "event_id": root } }),
    )
}

#[test]
fn threads_are_listed_by_their_latest_event() {
    let world = world_with_room();
    let first = world.say(ROOM, ALICE, "one");
    let second = world.say(ROOM, BOB, "two");
    let third = world.say(ROOM, BOB, "three");
    reply(&world, BOB, &second);
    reply(&world, BOB, &third);
    let latest = reply(&world, BOB, &first);
    let body = world.room_get(ALICE, "threads", &[]).ok();
    assert!(world.host.calls() <= 3);
    assert_eq!(ids(&body["chunk"]), [first.as_str(), third.as_str(), second.as_str()]);
    let thread = &body["chunk"][0]["unsigned"]["m.relations"]["m.thread"];
    assert_eq!(thread["count"], 1);
    assert_eq!(thread["latest_event"]["event_id"], latest);
    assert_eq!(thread["current_user_participated"], true, "the root is theirs");

    let mine = world.room_get(ALICE, "threads", &[("include", "participated")]).ok();
    assert_eq!(ids(&mine["chunk"]), [first.as_str()]);
    let page = world.room_get(ALICE, "threads", &[("limit", "2")]).ok();
    let from = page["next_batch"].as_str().unwrap();
    let rest = world.room_get(ALICE, "threads", &[("limit", "2"), ("from", from)]).ok();
    assert_eq!(ids(&rest["chunk"]), [second.as_str()]);
    assert!(rest.get("next_batch").is_none());
    assert_eq!(world.room_get(CAROL, "threads", &[]).error().0, 403);
    assert_eq!(world.room_get(ALICE, "threads", &[("include", "x")]).error().1, "M_INVALID_PARAM");
}
