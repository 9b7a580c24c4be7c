//! `required_state`.

use serde_json::json;

use super::*;

fn list(required: &Value) -> Value {
    json!({ "lists": { "l": { "range": [0, 9], "timeline_limit": 2, "required_state": required } } })
}

fn keys(body: &Value) -> Vec<String> {
    let events = body["rooms"][ROOM]["required_state"].as_array().cloned().unwrap_or_default();
    let key =
        |e: Value| format!("{}|{}", e["type"].as_str().unwrap(), e["state_key"].as_str().unwrap());
    events.into_iter().map(key).collect()
}

#[test]
fn wildcards_me_and_exclusions() {
    let world = world_with_room();
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "t" }));
    let own =
        next(&world, ALICE, &list(&json!([["m.room.member", "$ME"], ["m.room.topic", "*"]])), None);
    assert_eq!(keys(&own), [format!("m.room.member|{ALICE}"), "m.room.topic|".to_owned()]);
    let every = next(&world, ALICE, &list(&json!([["*", "*"]])), None);
    assert_eq!(keys(&every).len(), 5);
    let some = json!({ "include": [{}], "exclude": [{ "type": "m.room.member" }] });
    let some = next(&world, ALICE, &list(&some), None);
    assert_eq!(keys(&some), ["m.room.create|", "m.room.power_levels|", "m.room.topic|"]);
    let by_key = next(&world, ALICE, &list(&json!({ "include": [{ "state_key": BOB }] })), None);
    assert_eq!(keys(&by_key), [format!("m.room.member|{BOB}")]);
}

#[test]
fn state_that_changes_is_told_and_what_is_not_wanted_is_not() {
    let world = world_with_room();
    let wish = list(&json!([["m.room.topic", ""]]));
    let first = next(&world, ALICE, &wish, None);
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "one" }));
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "two" }));
    world.state(ROOM, ALICE, "m.room.join_rules", "", json!({ "join_rule": "public" }));
    let body = next(&world, ALICE, &wish, Some(&first));
    assert_eq!(keys(&body), ["m.room.topic|"]);
    assert_eq!(body["rooms"][ROOM]["required_state"][0]["content"]["topic"], "two");
}

#[test]
fn state_that_went_leaves_a_stub() {
    let world = world_with_room();
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "one" }));
    let wish = list(&json!([["m.room.topic", ""]]));
    let (first, old) = (next(&world, ALICE, &wish, None), ask_old(&world, BOB, &[], &wish).ok());
    unset(&world, ROOM, "m.room.topic");
    let body = next(&world, ALICE, &wish, Some(&first));
    assert_eq!(
        body["rooms"][ROOM]["required_state"],
        json!([{ "type": "m.room.topic", "state_key": "" }])
    );
    let body = ask_old(&world, BOB, &[("pos", &pos(&old))], &wish).ok();
    assert!(body["rooms"][ROOM].get("required_state").is_none());
}

#[test]
fn state_asked_for_later_comes_at_once() {
    let world = world_with_room();
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "one" }));
    let small = list(&json!([["m.room.create", ""]]));
    let large = list(&json!([["m.room.create", ""], ["m.room.topic", ""]]));
    let first = next(&world, ALICE, &small, None);
    let more = next(&world, ALICE, &large, Some(&first));
    assert_eq!(keys(&more), ["m.room.topic|"]);
    assert!(more["rooms"][ROOM].get("initial").is_none());
    assert!(timeline(&more, ROOM).is_empty());
    assert!(told(&next(&world, ALICE, &large, Some(&more))).is_empty());
    let less = next(&world, ALICE, &small, Some(&more));
    assert!(told(&less).is_empty());
    assert_eq!(
        keys(&next(&world, ALICE, &large, Some(&less))),
        ["m.room.topic|"],
        "it may have changed"
    );
}

#[test]
fn rules_for_one_room_add_up() {
    let world = world_with_room();
    let wish = |required: Value, limit: u64| json!({ "timeline_limit": limit, "required_state": required });
    let mut body =
        json!({ "room_subscriptions": { ROOM: wish(json!([["m.room.create", ""]]), 1) } });
    body["lists"]["l"] = wish(json!([["m.room.power_levels", ""]]), 3);
    let body = next(&world, ALICE, &body, None);
    assert_eq!(keys(&body), ["m.room.create|", "m.room.power_levels|"]);
    assert_eq!(timeline(&body, ROOM).len(), 3);
}

#[test]
fn lazy_members_come_with_the_timeline_once() {
    let world = world_with_room();
    world.join(ROOM, CAROL);
    world.say(ROOM, ALICE, "one");
    world.say(ROOM, BOB, "two");
    let wish = list(&json!([["m.room.member", "$LAZY"], ["m.room.create", ""]]));
    let first = next(&world, ALICE, &wish, None);
    let of = |users: &[&str]| -> Vec<String> {
        users.iter().map(|user| format!("m.room.member|{user}")).collect()
    };
    assert_eq!(keys(&first)[1..], of(&[ALICE, BOB]));
    world.say(ROOM, BOB, "known");
    let body = next(&world, ALICE, &wish, Some(&first));
    assert_eq!(keys(&body), of(&[]));
    world.say(ROOM, CAROL, "new");
    let lost = next(&world, ALICE, &wish, Some(&body));
    assert_eq!(keys(&lost), of(&[CAROL]));
    let again = next(&world, ALICE, &wish, Some(&body));
    assert_eq!(keys(&again), of(&[CAROL]), "the first answer may not have arrived");
    world.say(ROOM, CAROL, "known");
    let body = next(&world, ALICE, &wish, Some(&again));
    assert_eq!(keys(&body), of(&[]));
    // Without a gap every change of a member is told; after one only those of whom the timeline speaks.
    let rename = |name: &str| {
        let content = json!({ "membership": "join", "displayname": name });
        world.state(ROOM, BOB, "m.room.member", BOB, content);
    };
    rename("b");
    let body = next(&world, ALICE, &wish, Some(&body));
    assert_eq!(keys(&body), of(&[BOB]));
    rename("bb");
    for n in 0..4 {
        world.say(ROOM, CAROL, &n.to_string());
    }
    let body = next(&world, ALICE, &wish, Some(&body));
    assert_eq!(keys(&body), of(&[]));
    world.say(ROOM, BOB, "renamed");
    let body = next(&world, ALICE, &wish, Some(&body));
    assert_eq!(body["rooms"][ROOM]["required_state"][0]["content"]["displayname"], "bb");
}
