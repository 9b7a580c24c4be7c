//! Filters.

use serde_json::json;

use crate::world::*;

fn filtered(world: &World, since: Option<&str>, filter: &serde_json::Value) -> serde_json::Value {
    let filter = filter.to_string();
    let mut query = vec![("filter", filter.as_str())];
    query.extend(since.map(|since| ("since", since)));
    world.sync(ALICE, &query)
}

#[test]
fn timelines_are_filtered_by_type_and_sender() {
    let world = world_with_room();
    let bobs = world.say(ROOM, BOB, "x");
    let alices = world.say(ROOM, ALICE, "y");
    let by_type =
        filtered(&world, None, &json!({ "room": { "timeline": { "types": ["m.room.mess*"] } } }));
    assert_eq!(
        ids(&joined(&by_type, ROOM)["timeline"]["events"]),
        [bobs.as_str(), alices.as_str()]
    );
    let state = &joined(&by_type, ROOM)["state"]["events"];
    assert_eq!(state.as_array().unwrap().len(), 4, "what the timeline does not show");
    let by_sender = filtered(
        &world,
        None,
        &json!({ "room": { "timeline": { "not_senders": [ALICE] }, "state": { "types": [] } } }),
    );
    let room = joined(&by_sender, ROOM);
    assert_eq!(ids(&room["timeline"]["events"]).last(), Some(&bobs.as_str()));
    assert_eq!(room["state"]["events"], json!([]));
}

#[test]
fn rare_events_behind_many_filtered_ones_leave_no_silent_gap() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    world.state(ROOM, BOB, "org.rare", "", json!({}));
    for n in 0..60 {
        world.say(ROOM, BOB, &n.to_string());
    }
    let filter = json!({ "room": { "timeline": { "types": ["org.rare"], "limit": 2 } } });
    let body = filtered(&world, Some(&first), &filter);
    let timeline = &joined(&body, ROOM)["timeline"];
    let found = !timeline["events"].as_array().unwrap().is_empty();
    assert!(found || timeline["limited"] == true, "{timeline}");
}

#[test]
fn rooms_are_filtered() {
    let world = world_with_room();
    world.create("!other:hs1", ALICE);
    let body = filtered(&world, None, &json!({ "room": { "rooms": [ROOM] } }));
    assert!(joined(&body, "!other:hs1").is_null() && joined(&body, ROOM).is_object());
    let body = filtered(&world, None, &json!({ "room": { "not_rooms": [ROOM] } }));
    assert!(joined(&body, "!other:hs1").is_object() && joined(&body, ROOM).is_null());
}

#[test]
fn account_data_and_ephemeral_events_are_filtered() {
    let world = world_with_room();
    world.account_data(ALICE, "", "org.a", &json!({}));
    world.account_data(ALICE, ROOM, "org.b", &json!({}));
    world.receipt(ROOM, BOB, "m.read", "", "$e0");
    let none = json!({ "not_types": ["*"] });
    let body = filtered(
        &world,
        None,
        &json!({ "account_data": none, "presence": none, "room": { "account_data": none, "ephemeral": none } }),
    );
    assert!(body.get("account_data").is_none());
    assert!(joined(&body, ROOM).get("account_data").is_none());
    assert_eq!(joined(&body, ROOM)["ephemeral"]["events"], json!([]));
}

#[test]
fn fields_and_format_are_as_asked_for() {
    let world = world_with_room();
    world.say(ROOM, BOB, "x");
    let filter =
        json!({ "event_fields": ["type", "content.body"], "room": { "timeline": { "limit": 1 } } });
    let body = filtered(&world, None, &filter);
    assert_eq!(
        joined(&body, ROOM)["timeline"]["events"][0],
        json!({ "type": "m.room.message", "content": { "body": "x" } })
    );
    let body = filtered(&world, None, &json!({ "event_format": "federation" }));
    assert!(joined(&body, ROOM)["timeline"]["events"][0]["auth_events"].is_array());
    assert!(joined(&body, ROOM)["timeline"]["events"][0]["event_id"].is_string());
}

#[test]
fn a_limit_of_zero_gives_state_only() {
    let world = world_with_room();
    let body = filtered(&world, None, &json!({ "room": { "timeline": { "limit": 0 } } }));
    let room = joined(&body, ROOM);
    assert_eq!(room["timeline"]["events"], json!([]));
    assert_eq!(room["timeline"]["limited"], true);
    assert_eq!(room["state"]["events"].as_array().unwrap().len(), 4);
}

#[test]
fn a_change_that_the_filter_refuses_is_no_news() {
    let world = world_with_room();
    let filter = json!({ "presence": { "types": [] }, "room": {
        "timeline": { "types": [] }, "state": { "types": ["org.some"] }, "ephemeral": { "types": [] },
    } });
    let first = token(&filtered(&world, None, &filter));
    let profile = json!({ "membership": "join", "displayname": "A" });
    world.state(ROOM, ALICE, "m.room.member", ALICE, profile);
    let id = world.say(ROOM, ALICE, "x");
    world.receipt(ROOM, ALICE, "m.read", "", &id);
    let body = filtered(&world, Some(&first), &filter);
    assert!(body.get("rooms").is_none(), "{body}");
}

#[test]
fn a_message_behind_a_dozen_others_fills_a_timeline_of_one() {
    let world = world_with_room();
    let id = world.say(ROOM, BOB, "x");
    for n in 0..12 {
        world.state(ROOM, BOB, "org.filler", &n.to_string(), json!({}));
    }
    let filter = json!({ "room": { "timeline": { "limit": 1, "types": ["m.room.message"] } } });
    let body = filtered(&world, None, &filter);
    let timeline = &joined(&body, ROOM)["timeline"];
    assert_eq!(ids(&timeline["events"]), [id]);
    assert_eq!(timeline["limited"], false);
}
