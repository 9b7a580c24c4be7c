//! Receipts, typing and presence.

use serde_json::json;
use tessera_sdk::params;

use crate::world::*;

#[test]
fn receipts_are_told_and_private_ones_only_to_their_owner() {
    let world = world_with_room();
    let id = world.say(ROOM, ALICE, "hi");
    let first = token(&world.sync(ALICE, &[]));
    let bobs = token(&world.sync(BOB, &[]));
    world.receipt(ROOM, BOB, "m.read", "main", &id);
    world.receipt(ROOM, BOB, "m.read.private", "", &id);
    let body = world.since(ALICE, &first);
    assert_eq!(
        joined(&body, ROOM)["ephemeral"]["events"],
        json!([{ "type": "m.receipt", "content": {
            &id: { "m.read": { BOB: { "ts": 7, "thread_id": "main" } } },
        } }])
    );
    let body = world.since(BOB, &bobs);
    let content = &joined(&body, ROOM)["ephemeral"]["events"][0]["content"][&id];
    assert_eq!(content["m.read.private"][BOB], json!({ "ts": 7 }));
}

#[test]
fn typing_is_told_with_everybody_who_types() {
    let world = world_with_room();
    let now = world.host.now_ms();
    world.typing(ROOM, BOB, now + 1000);
    let first = token(&world.sync(ALICE, &[]));
    world.typing(ROOM, ALICE, now + 2000);
    let body = world.since(ALICE, &first);
    let users = &joined(&body, ROOM)["ephemeral"]["events"][0]["content"]["user_ids"];
    assert_eq!(users.as_array().unwrap().len(), 2);
    world.typing(ROOM, ALICE, 0);
    world.typing(ROOM, BOB, 0);
    let body = world.since(ALICE, &token(&body));
    assert_eq!(
        joined(&body, ROOM)["ephemeral"]["events"],
        json!([{ "type": "m.typing", "content": { "user_ids": [] } }])
    );
    let body = world.sync(ALICE, &[]);
    let ephemeral = &joined(&body, ROOM)["ephemeral"]["events"];
    assert_eq!(*ephemeral, json!([]), "nobody typing is no news");
}

#[test]
fn presence_is_told_to_those_who_share_a_room() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    let carols = token(&world.sync(CAROL, &[]));
    world.run(
        "presence",
        "INSERT INTO presence_status (user_id, presence, status_msg, last_active_ms, currently_active, position) \
         VALUES ($1, 'online', 'hey', $2, TRUE, $P)",
        params![BOB, world.host.now_ms() - 5],
        "",
    );
    let body = world.since(ALICE, &first);
    assert_eq!(
        body["presence"]["events"],
        json!([{ "type": "m.presence", "sender": BOB, "content": {
            "presence": "online", "status_msg": "hey", "currently_active": true, "last_active_ago": 5,
        } }])
    );
    assert!(world.since(CAROL, &carols).get("presence").is_none());
    // Unless a module lets her see it.
    let route = "INSERT INTO presence_routes (user_id, viewer, wanted) VALUES ($1, $2, FALSE)";
    world.run("presence", route, params![BOB, CAROL], "");
    assert_eq!(world.since(CAROL, &carols)["presence"]["events"][0]["sender"], BOB);
}

#[test]
fn of_those_who_once_typed_only_those_who_do_are_read() {
    let world = world_with_room();
    for n in 0..200 {
        world.typing(ROOM, &format!("@user{n}:hs1"), 0);
    }
    let first = token(&world.sync(ALICE, &[]));
    world.typing(ROOM, BOB, world.host.now_ms() + 1000);
    let _ = world.host.rows();
    let body = world.since(ALICE, &first);
    let rows = world.host.rows();
    assert!(rows < 50, "{rows}");
    let users = &joined(&body, ROOM)["ephemeral"]["events"][0]["content"]["user_ids"];
    assert_eq!(*users, json!([BOB]));
    let _ = world.host.rows();
    world.sync(ALICE, &[]);
    assert!(world.host.rows() < 50);
}

#[test]
fn of_a_large_room_the_newest_receipts_are_told_and_ones_own() {
    let world = world_with_room();
    let id = world.say(ROOM, BOB, "hi");
    world.receipt(ROOM, ALICE, "m.read", "", &id);
    for n in 0..600 {
        world.receipt(ROOM, &format!("@user{n}:hs1"), "m.read", "", &id);
    }
    let body = world.sync(ALICE, &[]);
    let read = &joined(&body, ROOM)["ephemeral"]["events"][0]["content"][&id]["m.read"];
    let users = read.as_object().unwrap();
    assert_eq!(users.len(), 501);
    assert!(users.contains_key(ALICE) && users.contains_key("@user599:hs1"));
    assert!(!users.contains_key("@user0:hs1"));
}
