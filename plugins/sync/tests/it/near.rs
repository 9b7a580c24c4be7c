//! Whose devices have changed, with whom rooms are shared now, with whom no more.

use serde_json::{Value, json};

use crate::world::*;

fn lists(body: &Value) -> (Value, Value) {
    (body["device_lists"]["changed"].clone(), body["device_lists"]["left"].clone())
}

fn presence(body: &Value) -> Vec<(String, String)> {
    let events = body["presence"]["events"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    events.iter().map(|e| (text(&e["sender"]), text(&e["content"]["presence"]))).collect()
}

#[test]
fn changed_devices_are_told_to_who_shares_a_room_and_to_oneself() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    world.devices_changed(BOB, ALICE);
    world.devices_changed(CAROL, ALICE);
    let body = world.since(ALICE, &first);
    assert_eq!(lists(&body), (json!([BOB]), json!([])));
    world.devices_changed(ALICE, ALICE);
    let body = world.since(ALICE, &token(&body));
    assert_eq!(lists(&body), (json!([ALICE]), json!([])));
    assert_eq!(lists(&world.since(ALICE, &token(&body))), (json!([]), json!([])));
    assert_eq!(lists(&world.sync(ALICE, &[])), (json!([]), json!([])), "initial: all is new");
}

#[test]
fn changes_that_one_user_alone_sees_are_told_to_them() {
    let world = world_with_room();
    let (first, bobs) = (token(&world.sync(ALICE, &[])), token(&world.sync(BOB, &[])));
    let sql = "INSERT INTO keys_private_changes (viewer, user_id, position) VALUES ($1, $2, $P)";
    world.run("keys", sql, tessera_sdk::params![ALICE, BOB], "");
    assert_eq!(lists(&world.since(ALICE, &first)).0, json!([BOB]));
    assert_eq!(lists(&world.since(BOB, &bobs)).0, json!([]));
}

#[test]
fn who_joins_is_told_as_changed_and_who_leaves_as_left() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    world.join(ROOM, CAROL);
    let body = world.since(ALICE, &first);
    assert_eq!(lists(&body), (json!([CAROL]), json!([])));
    world.state(
        ROOM,
        CAROL,
        "m.room.member",
        CAROL,
        json!({ "membership": "join", "displayname": "C" }),
    );
    let body = world.since(ALICE, &token(&body));
    assert_eq!(lists(&body), (json!([]), json!([])), "a new name is no new device");
    world.leave(ROOM, CAROL);
    let body = world.since(ALICE, &token(&body));
    assert_eq!(lists(&body), (json!([]), json!([CAROL])));
}

#[test]
fn who_leaves_one_of_two_shared_rooms_is_not_told_as_left() {
    let world = world_with_room();
    world.create("!other:hs1", ALICE);
    world.join("!other:hs1", BOB);
    let first = token(&world.sync(ALICE, &[]));
    world.leave(ROOM, BOB);
    assert_eq!(lists(&world.since(ALICE, &first)).1, json!([]));
}

#[test]
fn entering_and_leaving_a_room_tells_of_all_its_members() {
    let world = world_with_room();
    let first = token(&world.sync(CAROL, &[]));
    world.join(ROOM, CAROL);
    let body = world.since(CAROL, &first);
    assert_eq!(lists(&body), (json!([ALICE, BOB]), json!([])));
    world.leave(ROOM, CAROL);
    let body = world.since(CAROL, &token(&body));
    assert_eq!(lists(&body), (json!([]), json!([ALICE, BOB])));
}

#[test]
fn who_left_together_with_the_reader_is_told_as_left_too() {
    let world = world_with_room();
    world.join(ROOM, CAROL);
    let first = token(&world.sync(CAROL, &[]));
    world.leave(ROOM, BOB);
    world.leave(ROOM, CAROL);
    assert_eq!(lists(&world.since(CAROL, &first)).1, json!([ALICE, BOB]));
}

#[test]
fn a_filter_on_rooms_hides_no_devices() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    world.join(ROOM, CAROL);
    let body = world.sync(ALICE, &[("since", &first), ("filter", r#"{"room":{"rooms":[]}}"#)]);
    assert_eq!(lists(&body).0, json!([CAROL]));
    assert!(body.get("rooms").is_none());
}

#[test]
fn presence_of_newcomers_is_told_however_old_it_is() {
    let world = world_with_room();
    world.presence(CAROL, "unavailable");
    world.presence(BOB, "online");
    let first = token(&world.sync(ALICE, &[]));
    let carols = token(&world.sync(CAROL, &[]));
    world.join(ROOM, CAROL);
    let body = world.since(ALICE, &first);
    assert_eq!(presence(&body), [(CAROL.to_owned(), "unavailable".to_owned())]);
    assert!(presence(&world.since(ALICE, &token(&body))).is_empty());
    let body = world.since(CAROL, &carols);
    let mut known = presence(&body);
    known.sort();
    assert_eq!(
        known,
        [(ALICE.to_owned(), "offline".to_owned()), (BOB.to_owned(), "online".to_owned())],
        "who never told any is offline"
    );
}
