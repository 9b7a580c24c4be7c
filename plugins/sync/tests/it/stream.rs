//! GET /events.

use serde_json::{Value, json};
use tessera_sdk::http::WakeReason::{Timeout, Woken};
use tessera_test_host::TestAnswer;

use crate::world::*;

fn events(world: &World, user: &str, query: &[(&str, &str)]) -> TestAnswer {
    world.get(user, "events", &[], query)
}

fn end(body: &Value) -> String {
    body["end"].as_str().unwrap().to_owned()
}

#[test]
fn the_stream_begins_now_and_tells_each_thing_once_in_order() {
    let world = world_with_room();
    let body = events(&world, ALICE, &[("timeout", "0")]).ok();
    assert_eq!(body["chunk"], json!([]));
    let sent: Vec<String> = (0..20).map(|n| world.say(ROOM, BOB, &n.to_string())).collect();
    world.create("!other:hs1", BOB);
    world.member("!other:hs1", BOB, ALICE, "invite");
    world.typing(ROOM, BOB, world.host.now_ms() + 1000);
    world.receipt(ROOM, BOB, "m.read", "", &sent[3]);
    world.presence(BOB, "online");
    world.account_data(ALICE, ROOM, "m.tag", &json!({ "tags": {} }));
    let body = events(&world, ALICE, &[("from", &end(&body)), ("timeout", "0")]).ok();
    let chunk = body["chunk"].as_array().unwrap();
    let said: Vec<&str> = chunk
        .iter()
        .filter(|event| event["type"] == "m.room.message")
        .map(|event| event["event_id"].as_str().unwrap())
        .collect();
    assert_eq!(said, sent);
    assert_eq!((&chunk[0]["room_id"], &chunk[0]["user_id"]), (&json!(ROOM), &json!(BOB)));
    assert_eq!(
        types(&body["chunk"])[20..],
        ["m.room.member", "m.receipt", "m.typing", "m.tag", "m.presence"]
    );
    let invite = &chunk[20];
    assert_eq!((&invite["room_id"], &invite["state_key"]), (&json!("!other:hs1"), &json!(ALICE)));
    let body = events(&world, ALICE, &[("from", &end(&body)), ("timeout", "0")]).ok();
    assert_eq!(body["chunk"], json!([]));
    for odd in [("from", "x"), ("limit", "x"), ("limit", "-2"), ("timeout", "x")] {
        assert_eq!(events(&world, ALICE, &[odd]).error().1, "M_INVALID_PARAM", "{odd:?}");
    }
}

#[test]
fn the_stream_waits_for_news_and_ends_with_the_time() {
    let world = world_with_room();
    let waiting = events(&world, ALICE, &[]);
    let watch = waiting.parked().expect("nothing is new").watch;
    let id = world.say(ROOM, BOB, "hi");
    assert!(world.host.watch_fired(watch));
    let body = world.resume(&waiting, Woken).ok();
    assert_eq!(ids(&body["chunk"]), [id]);
    let waiting = events(&world, ALICE, &[("from", &end(&body))]);
    assert!(waiting.parked().is_some());
    world.host.advance(30_000);
    assert_eq!(world.resume(&waiting, Timeout).ok()["chunk"], json!([]));
}

#[test]
fn a_join_and_what_follows_is_told_but_not_what_was_before() {
    let world = world_with_room();
    world.say(ROOM, ALICE, "before");
    let from = end(&events(&world, CAROL, &[("timeout", "0")]).ok());
    let hidden = world.say(ROOM, ALICE, "just before");
    world.visibility(ROOM, ALICE, "joined");
    world.say(ROOM, ALICE, "secret");
    let join = world.join(ROOM, CAROL);
    let body = events(&world, CAROL, &[("from", &from), ("timeout", "0")]).ok();
    assert!(!body.to_string().contains("secret"), "{body}");
    let told = ids(&body["chunk"]);
    assert_eq!(told.first(), Some(&hidden.as_str()), "shared history since the token");
    assert_eq!(told.last(), Some(&join.as_str()));
}

#[test]
fn an_open_room_is_followed_by_who_is_not_in_it() {
    let world = world_with_room();
    let query = [("room_id", ROOM), ("timeout", "0")];
    assert_eq!(events(&world, CAROL, &query).error(), (403, "M_FORBIDDEN".to_owned()));
    world.visibility(ROOM, ALICE, "world_readable");
    let body = events(&world, CAROL, &query).ok();
    let from = end(&body);
    let waiting = events(&world, CAROL, &[("room_id", ROOM), ("from", &from)]);
    assert_eq!(world.host.watched(waiting.parked().unwrap().watch), [format!("room:{ROOM}")]);
    let id = world.say(ROOM, ALICE, "hi");
    let body = world.resume(&waiting, Woken).ok();
    assert_eq!(ids(&body["chunk"]), [id.as_str()]);
    world.receipt(ROOM, BOB, "m.read", "", &id);
    world.typing(ROOM, BOB, world.host.now_ms() + 1000);
    world.presence(BOB, "online");
    world.presence(CAROL, "online");
    let query = [("room_id", ROOM), ("from", body["end"].as_str().unwrap()), ("timeout", "0")];
    let body = events(&world, CAROL, &query).ok();
    assert_eq!(
        types(&body["chunk"]),
        ["m.receipt", "m.typing"],
        "presence is for those who share a room"
    );
    let body = events(&world, ALICE, &query).ok();
    assert_eq!(types(&body["chunk"]), ["m.receipt", "m.typing", "m.presence"]);
    assert_eq!(body["chunk"][2]["content"]["user_id"], BOB);
}

#[test]
fn guests_follow_rooms_only() {
    let world = world_with_room();
    world.visibility(ROOM, ALICE, "world_readable");
    let ask = |query: &[(&str, &str)]| {
        let mut request = world.host.request("GET", "events").user(CAROL).device("D").mark("guest");
        for (name, value) in query {
            request = request.query(name, value);
        }
        request.send::<tessera_plugin_sync::Plugin>()
    };
    assert_eq!(ask(&[]).error(), (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned()));
    assert_eq!(ask(&[("room_id", ROOM), ("timeout", "0")]).ok()["chunk"], json!([]));
}
