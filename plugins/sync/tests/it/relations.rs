//! GET /relations.

use serde_json::{Value, json};
use tessera_test_host::TestAnswer;

use crate::world::*;

fn relate(world: &World, sender: &str, kind: &str, rel_type: &str, to: &str) -> String {
    let relation = json!({ "rel_type": rel_type, "event_id": to, "key": "k" });
    world.event(&Event {
        room: ROOM,
        sender,
        kind,
        state_key: None,
        content: json!({ "m.relates_to": relation }),
    })
}

fn get(world: &World, user: &str, path: &[&str], query: &[(&str, &str)]) -> TestAnswer {
    let names = ["eventId", "relType", "eventType"];
    let mut params = vec![("roomId", ROOM)];
    params.extend(names.into_iter().zip(path.iter().copied()));
    world.get(user, "relations", &params, query)
}

fn found(answer: &TestAnswer) -> Vec<String> {
    let body: Value = answer.ok();
    ids(&body["chunk"]).into_iter().map(str::to_owned).collect()
}

#[test]
fn relations_are_found_by_event_type_and_relation() {
    let world = world_with_room();
    let root = world.say(ROOM, ALICE, "root");
    let like = relate(&world, BOB, "m.reaction", "m.annotation", &root);
    let reply = relate(&world, BOB, "m.room.message", "m.thread", &root);
    let sticker = relate(&world, BOB, "m.sticker", "m.thread", &root);
    let answer = get(&world, ALICE, &[&root], &[]);
    assert!(world.host.calls() <= 4);
    assert_eq!(found(&answer), [sticker.as_str(), reply.as_str(), like.as_str()]);
    assert_eq!(
        found(&get(&world, ALICE, &[&root], &[("dir", "f")])),
        [like.as_str(), reply.as_str(), sticker.as_str()]
    );
    assert_eq!(
        found(&get(&world, ALICE, &[&root, "m.thread"], &[])),
        [sticker.as_str(), reply.as_str()]
    );
    assert_eq!(
        found(&get(&world, ALICE, &[&root, "m.thread", "m.sticker"], &[])),
        [sticker.as_str()]
    );
    assert_eq!(get(&world, CAROL, &[&root], &[]).error().0, 403);
    assert_eq!(get(&world, ALICE, &["$none"], &[]).error().0, 404);
    assert_eq!(get(&world, ALICE, &[&root], &[("dir", "x")]).error().1, "M_INVALID_PARAM");
}

#[test]
fn relations_come_in_pages() {
    let world = world_with_room();
    let root = world.say(ROOM, ALICE, "root");
    let all: Vec<String> =
        (0..5).map(|_| relate(&world, BOB, "m.reaction", "m.annotation", &root)).collect();
    let mut seen = Vec::new();
    let mut from = None;
    loop {
        let mut query = vec![("limit", "2"), ("dir", "f")];
        query.extend(from.as_ref().map(|from: &String| ("from", from.as_str())));
        let answer = get(&world, ALICE, &[&root], &query);
        seen.extend(found(&answer));
        match answer.ok()["next_batch"].as_str() {
            Some(next) => from = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(seen, all);
}

#[test]
fn recursion_finds_relations_of_relations() {
    let world = world_with_room();
    let root = world.say(ROOM, ALICE, "root");
    let reply = relate(&world, BOB, "m.room.message", "m.thread", &root);
    let like = relate(&world, ALICE, "m.reaction", "m.annotation", &reply);
    assert_eq!(found(&get(&world, ALICE, &[&root], &[])), [reply.as_str()]);
    let answer = get(&world, ALICE, &[&root], &[("recurse", "true")]);
    assert_eq!(found(&answer), [like.as_str(), reply.as_str()]);
    assert_eq!(answer.ok()["recursion_depth"], 3);
}

#[test]
fn what_is_said_in_another_room_relates_to_nothing_here() {
    let world = world_with_room();
    let root = world.say(ROOM, ALICE, "root");
    let reply = relate(&world, BOB, "m.room.message", "m.thread", &root);
    world.create("!theirs:hs1", CAROL);
    let foreign = |rel_type: &str, to: &str, sender: &str| {
        world.event(&Event {
            room: "!theirs:hs1",
            sender,
            kind: "m.room.message",
            state_key: None,
            content: json!({
                "body": "foreign", "m.new_content": { "body": "foreign" },
                "m.relates_to": { "rel_type": rel_type, "event_id": to },
            }),
        })
    };
    foreign("m.thread", &root, CAROL);
    foreign("m.reference", &root, CAROL);
    foreign("m.replace", &root, ALICE);
    foreign("m.replace", &reply, BOB);
    foreign("m.annotation", &reply, CAROL);
    let recursive = [("recurse", "true")];
    assert_eq!(found(&get(&world, ALICE, &[&root], &recursive)), [reply.as_str()]);
    for body in [
        world.room_get(ALICE, "messages", &[("dir", "b")]).ok(),
        world.room_get(ALICE, "threads", &[]).ok(),
        world.sync(ALICE, &[]),
    ] {
        assert!(!body.to_string().contains("foreign"), "{body}");
    }
    let body = world.get(ALICE, "context", &[("roomId", ROOM), ("eventId", &root)], &[]).ok();
    let bundle = &body["event"]["unsigned"]["m.relations"];
    assert_eq!(bundle["m.thread"]["count"], 1, "{bundle}");
    assert_eq!(bundle["m.thread"]["latest_event"]["event_id"], reply);
    assert!(bundle.get("m.replace").is_none() && bundle.get("m.reference").is_none());
}
