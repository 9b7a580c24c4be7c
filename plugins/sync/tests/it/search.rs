//! POST /search.

use serde_json::{Value, json};

use crate::world::*;

fn search(world: &World, user: &str, criteria: &Value) -> Value {
    page(world, user, criteria, None)
}

fn page(world: &World, user: &str, criteria: &Value, from: Option<&str>) -> Value {
    let query: Vec<(&str, &str)> = from.map(|from| ("next_batch", from)).into_iter().collect();
    let body = json!({ "search_categories": { "room_events": criteria } });
    world.post(user, "search", &query, &body).ok()["search_categories"]["room_events"].clone()
}

fn found(body: &Value) -> Vec<&str> {
    let results = body["results"].as_array().unwrap();
    results.iter().map(|result| result["result"]["event_id"].as_str().unwrap()).collect()
}

#[test]
fn words_are_found_in_the_rooms_of_the_user_newest_first() {
    let world = world_with_room();
    world.create("!bobs:hs1", BOB);
    world.say("!bobs:hs1", BOB, "a hidden needle");
    let first = world.say(ROOM, BOB, "a needle in hay");
    world.say(ROOM, BOB, "only hay");
    let second = world.say(ROOM, ALICE, "Another Needle");
    let body = search(&world, ALICE, &json!({ "search_term": "needle", "order_by": "recent" }));
    assert_eq!(found(&body), [second.as_str(), first.as_str()]);
    assert_eq!(body["count"], 2);
    assert_eq!(body["highlights"], json!(["needle"]));
    assert!(body.get("next_batch").is_none());
    let result = &body["results"][1]["result"];
    assert_eq!(result["room_id"], ROOM);
    assert_eq!(result["content"]["body"], "a needle in hay");
    assert!(body["results"][1].get("context").is_none());
    let ranked = search(&world, ALICE, &json!({ "search_term": "needle" }));
    assert_eq!(found(&ranked).len(), 2, "best first by default");
    assert!(ranked["results"][0]["rank"].is_number());
    assert!(found(&search(&world, CAROL, &json!({ "search_term": "needle" }))).is_empty());
}

#[test]
fn who_left_finds_what_they_saw_and_no_more() {
    let world = world_with_room();
    let seen = world.say(ROOM, ALICE, "needle one");
    world.leave(ROOM, BOB);
    world.say(ROOM, ALICE, "needle two");
    let body = search(&world, BOB, &json!({ "search_term": "needle", "include_state": true }));
    assert_eq!(found(&body), [seen]);
    let members = body["state"][ROOM].as_array().unwrap();
    let own = members.iter().find(|event| event["state_key"] == BOB).unwrap();
    assert_eq!(own["content"]["membership"], "leave", "the state when they left");
    world.visibility(ROOM, ALICE, "joined");
    world.say(ROOM, ALICE, "needle three");
    world.join(ROOM, CAROL);
    let body = search(&world, CAROL, &json!({ "search_term": "needle", "order_by": "recent" }));
    assert_eq!(found(&body).len(), 2, "shared before, joined after: {body}");
}

#[test]
fn results_are_filtered_by_room_sender_and_key() {
    let world = world_with_room();
    world.create("!other:hs1", ALICE);
    let other = world.say("!other:hs1", ALICE, "needle");
    let bobs = world.say(ROOM, BOB, "needle");
    let topic = world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "needle" }));
    let by = |filter: Value| -> Vec<String> {
        let body = search(&world, ALICE, &filter);
        found(&body).into_iter().map(str::to_owned).collect()
    };
    let only = json!({ "search_term": "needle", "filter": { "rooms": ["!other:hs1"] } });
    assert_eq!(by(only), std::slice::from_ref(&other));
    let sender = json!({ "search_term": "needle", "filter": { "senders": [BOB] } });
    assert_eq!(by(sender), std::slice::from_ref(&bobs));
    let topics = json!({ "search_term": "needle", "keys": ["content.topic"] });
    assert_eq!(by(topics), [topic]);
    let without = json!({ "search_term": "needle", "keys": ["content.body"], "filter": { "not_rooms": [ROOM] } });
    assert_eq!(by(without), [other]);
    world.account_data(ALICE, "", "m.ignored_user_list", &json!({ "ignored_users": { BOB: {} } }));
    let ignored = json!({ "search_term": "needle", "filter": { "types": ["m.room.message"], "rooms": [ROOM] } });
    assert!(by(ignored).is_empty());
}

#[test]
fn pages_follow_one_another_without_gap_or_repetition() {
    let world = world_with_room();
    let mut sent: Vec<String> =
        (0..25).map(|n| world.say(ROOM, BOB, &format!("needle {n}"))).collect();
    sent.reverse();
    let criteria = json!({
        "search_term": "needle", "order_by": "recent", "filter": { "limit": 10 },
        "groupings": { "group_by": [{ "key": "room_id" }, { "key": "sender" }] },
    });
    let (mut all, mut from): (Vec<String>, Option<String>) = (Vec::new(), None);
    for size in [10, 10, 5] {
        let body = page(&world, ALICE, &criteria, from.as_deref());
        assert_eq!(found(&body).len(), size);
        all.extend(found(&body).into_iter().map(str::to_owned));
        assert_eq!(body["groups"]["room_id"][ROOM]["results"].as_array().unwrap().len(), size);
        assert_eq!(body["groups"]["sender"][BOB]["order"], 1);
        from = body["next_batch"].as_str().map(str::to_owned);
    }
    assert_eq!(all, sent);
    assert!(from.is_none());
    let body = page(&world, ALICE, &criteria, None);
    let group = body["groups"]["room_id"][ROOM]["next_batch"].as_str().unwrap();
    let next = page(&world, ALICE, &criteria, Some(group));
    assert_eq!(found(&next), sent[10..20], "the next page of the group");
}

#[test]
fn results_come_with_what_was_said_around_them() {
    let world = world_with_room();
    world.state(
        ROOM,
        BOB,
        "m.room.member",
        BOB,
        json!({ "membership": "join", "displayname": "Bob" }),
    );
    let before = world.say(ROOM, ALICE, "before");
    let needle = world.say(ROOM, BOB, "needle");
    let after = world.say(ROOM, ALICE, "after");
    world.say(ROOM, ALICE, "later");
    let criteria = json!({
        "search_term": "needle",
        "event_context": { "before_limit": 1, "after_limit": 1, "include_profile": true },
    });
    let body = search(&world, ALICE, &criteria);
    assert_eq!(found(&body), [needle]);
    let context = &body["results"][0]["context"];
    assert_eq!(ids(&context["events_before"]), [before]);
    assert_eq!(ids(&context["events_after"]), [after]);
    assert_eq!(context["profile_info"][BOB]["displayname"], "Bob");
    let end = context["end"].as_str().unwrap();
    let page = world.room_get(ALICE, "messages", &[("dir", "f"), ("from", end)]).ok();
    assert_eq!(page["chunk"][0]["content"]["body"], "later");
}

#[test]
fn the_past_of_an_upgraded_room_is_searched_with_it() {
    let world = world_with_room();
    let old = world.say(ROOM, ALICE, "needle");
    world.progress("!new:hs1", i64::MAX);
    let create = json!({ "room_version": "11", "predecessor": { "room_id": ROOM } });
    world.state("!new:hs1", ALICE, "m.room.create", "", create);
    world.join("!new:hs1", ALICE);
    let criteria = json!({ "search_term": "needle", "filter": { "rooms": ["!new:hs1"] } });
    assert_eq!(found(&search(&world, ALICE, &criteria)), [old]);
}

#[test]
fn malformed_searches_are_refused() {
    let world = world_with_room();
    let refused = |criteria: Value, query: &[(&str, &str)]| -> String {
        let body = json!({ "search_categories": { "room_events": criteria } });
        let (status, code) = world.post(ALICE, "search", query, &body).error();
        assert_eq!(status, 400);
        code
    };
    assert_eq!(refused(json!({}), &[]), "M_MISSING_PARAM");
    assert_eq!(refused(json!({ "search_term": 5 }), &[]), "M_BAD_JSON");
    assert_eq!(refused(json!({ "search_term": "x", "order_by": "y" }), &[]), "M_INVALID_PARAM");
    assert_eq!(refused(json!({ "search_term": "x", "keys": ["y"] }), &[]), "M_INVALID_PARAM");
    let group = json!({ "search_term": "x", "groupings": { "group_by": [{ "key": "y" }] } });
    assert_eq!(refused(group, &[]), "M_BAD_JSON");
    assert_eq!(refused(json!({ "search_term": "x" }), &[("next_batch", "y")]), "M_INVALID_PARAM");
    let empty = world.post(ALICE, "search", &[], &json!({ "search_categories": {} })).ok();
    assert_eq!(empty, json!({ "search_categories": {} }));
    assert_eq!(world.post(ALICE, "search", &[], &json!({})).error().1, "M_BAD_JSON");
}

#[test]
fn what_ignored_users_said_around_a_result_is_left_out() {
    let world = world_with_room();
    world.account_data(ALICE, "", "m.ignored_user_list", &json!({ "ignored_users": { BOB: {} } }));
    world.say(ROOM, BOB, "unwanted");
    world.say(ROOM, ALICE, "needle");
    let criteria = json!({ "search_term": "needle", "event_context": {} });
    let body = search(&world, ALICE, &criteria);
    assert!(!body.to_string().contains("unwanted"), "{body}");
}

#[test]
fn the_next_page_of_a_group_is_of_its_room_even_where_its_event_is_gone() {
    let world = world_with_room();
    world.create("!other:hs1", ALICE);
    world.say("!other:hs1", ALICE, "needle");
    let found = |n: u32| Event {
        room: ROOM,
        sender: BOB,
        kind: "m.room.message",
        state_key: None,
        content: json!({ "body": format!("needle {n}") }),
    };
    for part in 0..5 {
        let events: Vec<Event<'_>> = (0..500).map(|n| found(part * 500 + n)).collect();
        world.events_of(&events);
    }
    let criteria = json!({ "search_term": "needle", "order_by": "recent" });
    let mut from = Some(format!("g$gone {ROOM}"));
    for _ in 0..3 {
        let Some(token) = from.as_deref() else { break };
        let body = page(&world, ALICE, &criteria, Some(token));
        let results = body["results"].as_array().unwrap();
        assert!(results.iter().all(|result| result["result"]["room_id"] == ROOM), "{body}");
        from = body["next_batch"].as_str().map(str::to_owned);
    }
    assert!(from.is_none(), "it ends");
}
