//! /initialSync, of everything and of a room, and single events without their room.

use serde_json::{Value, json};

use crate::world::*;

fn find<'a>(list: &'a Value, field: &str, wanted: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|item| item[field] == wanted).unwrap()
}

#[test]
fn initial_sync_tells_all_rooms_in_the_old_form() {
    let world = world_with_room();
    let text = world.say(ROOM, BOB, "hi");
    world.receipt(ROOM, BOB, "m.read", "", &text);
    world.presence(BOB, "online");
    world.account_data(ALICE, "", "org.a", &json!({}));
    world.create("!left:hs1", BOB);
    world.join("!left:hs1", ALICE);
    world.leave("!left:hs1", ALICE);
    world.create("!invited:hs1", BOB);
    world.member("!invited:hs1", BOB, ALICE, "invite");
    let body = world.get(ALICE, "initial-sync", &[], &[("limit", "2")]).ok();
    let room = find(&body["rooms"], "room_id", ROOM);
    assert_eq!(room["membership"], "join");
    assert_eq!(room["visibility"], "private");
    let chunk = room["messages"]["chunk"].as_array().unwrap();
    assert_eq!(chunk.len(), 2);
    assert_eq!((&chunk[1]["event_id"], &chunk[1]["user_id"]), (&json!(text), &json!(BOB)));
    assert_eq!(chunk[1]["room_id"], ROOM);
    assert!(chunk[1]["age"].is_number());
    assert_eq!(room["state"].as_array().unwrap().len(), 4, "whole, as it is now");
    let start = room["messages"]["start"].as_str().unwrap();
    let page = world.room_get(ALICE, "messages", &[("dir", "b"), ("from", start)]).ok();
    assert_eq!(page["chunk"].as_array().unwrap().len(), 3);
    assert_eq!(find(&body["rooms"], "room_id", "!invited:hs1")["inviter"], BOB);
    assert_eq!(body["receipts"][0]["room_id"], ROOM);
    assert_eq!(body["presence"][0]["content"]["user_id"], BOB);
    assert_eq!(body["account_data"][0]["type"], "org.a");
    assert_eq!(body["rooms"].as_array().unwrap().len(), 2, "not the one that was left");
    let body = world.get(ALICE, "initial-sync", &[], &[("archived", "true"), ("limit", "0")]).ok();
    let left = find(&body["rooms"], "room_id", "!left:hs1");
    assert_eq!(left["membership"], "leave");
    assert_eq!(left["messages"]["chunk"], json!([]));
    assert_eq!(
        world.get(ALICE, "initial-sync", &[], &[("limit", "x")]).error().1,
        "M_INVALID_PARAM"
    );
}

#[test]
fn a_room_is_told_to_members_to_those_who_left_and_to_anybody_if_it_is_open() {
    let world = world_with_room();
    let text = world.say(ROOM, ALICE, "seen");
    world.receipt(ROOM, ALICE, "m.read", "", &text);
    world.presence(ALICE, "online");
    world.leave(ROOM, BOB);
    world.say(ROOM, ALICE, "unseen");
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "unseen" }));
    let body = world.room_get(ALICE, "room-initial-sync", &[]).ok();
    assert_eq!(body["membership"], "join");
    assert_eq!(body["presence"][0]["content"]["presence"], "online");
    assert_eq!(body["receipts"][0]["type"], "m.receipt");
    assert_eq!(find(&body["state"], "type", "m.room.topic")["content"]["topic"], "unseen");
    let body = world.room_get(BOB, "room-initial-sync", &[("limit", "2")]).ok();
    assert_eq!(body["membership"], "leave");
    assert!(!body.to_string().contains("unseen"), "{body}");
    assert_eq!(body["messages"]["chunk"][0]["content"]["body"], "seen");
    assert_eq!((&body["presence"], &body["receipts"]), (&json!([]), &json!([])));
    assert_eq!(world.room_get(CAROL, "room-initial-sync", &[]).error().1, "M_FORBIDDEN");
    world.visibility(ROOM, ALICE, "world_readable");
    let open = world.say(ROOM, ALICE, "open");
    let body = world.room_get(CAROL, "room-initial-sync", &[]).ok();
    assert!(body.get("membership").is_none());
    assert!(ids(&body["messages"]["chunk"]).contains(&open.as_str()));
    assert!(!body["messages"]["chunk"].to_string().contains("unseen"), "from before it was open");
}

#[test]
fn an_event_is_found_without_its_room_by_who_may_see_it() {
    let world = world_with_room();
    let id = world.say(ROOM, BOB, "hi");
    let get = |user: &str, id: &str| world.get(user, "event", &[("eventId", id)], &[]);
    let event = get(ALICE, &id).ok();
    assert_eq!((&event["room_id"], &event["user_id"]), (&json!(ROOM), &json!(BOB)));
    assert_eq!(get(CAROL, &id).error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(get(ALICE, "$none").error(), (404, "M_NOT_FOUND".to_owned()));
}
