//! GET /messages and GET /timestamp_to_event.

use serde_json::json;

use crate::world::*;

#[test]
fn pages_lead_through_all_events_in_both_directions() {
    let world = world_with_room();
    let sent: Vec<String> = (0..7).map(|n| world.say(ROOM, BOB, &n.to_string())).collect();
    for dir in ["b", "f"] {
        let mut seen = Vec::new();
        let mut from = None;
        loop {
            let mut query = vec![("dir", dir), ("limit", "3")];
            query.extend(from.as_ref().map(|from: &String| ("from", from.as_str())));
            let page = world.room_get(ALICE, "messages", &query).ok();
            assert!(world.host.calls() <= 3);
            seen.extend(ids(&page["chunk"]).into_iter().map(str::to_owned));
            match page["end"].as_str() {
                Some(end) => from = Some(end.to_owned()),
                None => break,
            }
        }
        if dir == "b" {
            seen.reverse();
        }
        assert_eq!(seen.len(), 11);
        assert_eq!(seen[4..], sent);
    }
}

#[test]
fn events_of_messages_name_their_room() {
    let world = world_with_room();
    let page = world.room_get(ALICE, "messages", &[("dir", "b"), ("limit", "1")]).ok();
    assert_eq!(page["chunk"][0]["room_id"], ROOM);
    assert_eq!(page["chunk"][0]["unsigned"]["membership"], "join");
}

#[test]
fn tokens_of_sync_go_forward_from_there() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    let id = world.say(ROOM, BOB, "new");
    let page = world.room_get(ALICE, "messages", &[("dir", "f"), ("from", &first)]).ok();
    assert_eq!(ids(&page["chunk"]), [id]);
    let end = page["end"].as_str().unwrap();
    let page = world.room_get(ALICE, "messages", &[("dir", "f"), ("from", end)]).ok();
    assert_eq!(page["chunk"], json!([]));
    assert!(page.get("end").is_none(), "a page without events is the last one");
}

#[test]
fn messages_are_filtered_and_the_search_goes_on() {
    let world = world_with_room();
    for n in 0..40 {
        world.say(ROOM, BOB, &n.to_string());
    }
    let query = [("dir", "b"), ("limit", "2"), ("filter", r#"{"types":["m.room.create"]}"#)];
    let mut page = world.room_get(ALICE, "messages", &query).ok();
    let mut rounds = 0;
    while page["chunk"].as_array().unwrap().is_empty() {
        let from = page["end"].as_str().expect("a way on").to_owned();
        let query = [&query[..], &[("from", &from)]].concat();
        page = world.room_get(ALICE, "messages", &query).ok();
        rounds += 1;
        assert!(rounds < 20);
    }
    assert_eq!(types(&page["chunk"]), ["m.room.create"]);
}

#[test]
fn strangers_may_not_read_and_leavers_up_to_their_leave() {
    let world = world_with_room();
    assert_eq!(
        world.room_get(CAROL, "messages", &[("dir", "b")]).error(),
        (403, "M_FORBIDDEN".to_owned())
    );
    let leave = world.leave(ROOM, BOB);
    world.say(ROOM, ALICE, "secret");
    let page = world.room_get(BOB, "messages", &[("dir", "b")]).ok();
    assert_eq!(ids(&page["chunk"])[0], leave);
    let page = world.room_get(BOB, "messages", &[("dir", "f")]).ok();
    assert!(!page.to_string().contains("secret"));
}

#[test]
fn world_readable_rooms_are_open_to_strangers() {
    let world = world_with_room();
    world.say(ROOM, ALICE, "before");
    world.visibility(ROOM, ALICE, "world_readable");
    let id = world.say(ROOM, ALICE, "open");
    let page = world.room_get(CAROL, "messages", &[("dir", "b")]).ok();
    assert_eq!(ids(&page["chunk"])[0], id);
    assert!(!page.to_string().contains("before"));
}

#[test]
fn malformed_parameters_are_refused() {
    let world = world_with_room();
    for (query, code) in [
        (vec![], "M_MISSING_PARAM"),
        (vec![("dir", "x")], "M_INVALID_PARAM"),
        (vec![("dir", "b"), ("from", "x")], "M_INVALID_PARAM"),
        (vec![("dir", "b"), ("limit", "-1")], "M_INVALID_PARAM"),
        (vec![("dir", "b"), ("filter", "{")], "M_NOT_JSON"),
    ] {
        assert_eq!(world.room_get(ALICE, "messages", &query).error().1, code, "{query:?}");
    }
}

#[test]
fn events_are_found_by_time() {
    let world = world_with_room();
    let start = world.host.now_ms();
    world.host.set_now(start + 1000);
    let early = world.say(ROOM, ALICE, "early");
    world.host.set_now(start + 2000);
    let late = world.say(ROOM, ALICE, "late");
    let find = |user: &str, ts: u64, dir: &str| {
        world.room_get(user, "timestamp", &[("ts", &ts.to_string()), ("dir", dir)])
    };
    let found = find(BOB, start + 1500, "f").ok();
    assert_eq!(found, json!({ "event_id": late, "origin_server_ts": start + 2000 }));
    assert_eq!(find(BOB, start + 1500, "b").ok()["event_id"], early);
    assert_eq!(find(BOB, start + 2001, "f").error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(find(CAROL, start, "f").error().1, "M_FORBIDDEN");
    assert_eq!(world.room_get(BOB, "timestamp", &[("ts", "5")]).error().1, "M_MISSING_PARAM");
    assert_eq!(
        world.room_get(BOB, "timestamp", &[("ts", "x"), ("dir", "f")]).error().1,
        "M_INVALID_PARAM"
    );
}

#[test]
fn messages_can_be_narrowed_to_those_with_relations() {
    let world = world_with_room();
    let root = world.say(ROOM, ALICE, "root");
    let liked = world.say(ROOM, ALICE, "liked");
    let relate = |sender: &str, rel_type: &str, to: &str| {
        let relation = json!({ "rel_type": rel_type, "event_id": to });
        world.send(ROOM, sender, json!({ "m.relates_to": relation }))
    };
    relate(BOB, "m.thread", &root);
    relate(ALICE, "m.annotation", &liked);
    for (filter, expected) in [
        (json!({ "related_by_rel_types": ["m.thread"] }), vec![root.as_str()]),
        (json!({ "related_by_senders": [ALICE] }), vec![liked.as_str()]),
        (json!({ "related_by_senders": [ALICE], "related_by_rel_types": ["m.thread"] }), vec![]),
        (json!({ "related_by_rel_types": [] }), vec![]),
    ] {
        let query = [("dir", "b"), ("filter", &filter.to_string())];
        let page = world.room_get(BOB, "messages", &query).ok();
        assert_eq!(ids(&page["chunk"]), expected, "{filter}");
    }
}

#[test]
fn who_left_a_room_that_was_once_world_readable_sees_no_more_than_others_who_left() {
    let world = world_with_room();
    world.visibility(ROOM, ALICE, "world_readable");
    world.visibility(ROOM, ALICE, "joined");
    let seen = world.say(ROOM, ALICE, "seen");
    world.member(ROOM, ALICE, BOB, "ban");
    let relation = json!({ "rel_type": "m.thread", "event_id": seen });
    world.send(ROOM, ALICE, json!({ "body": "secret", "m.relates_to": relation }));
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "secret" }));
    let from = token(&world.sync(ALICE, &[]));
    world.receipt(ROOM, ALICE, "m.read", "", &seen);
    let messages = world.room_get(BOB, "messages", &[("dir", "b")]).ok();
    assert!(ids(&messages["chunk"]).contains(&seen.as_str()));
    assert!(!messages.to_string().contains("secret"), "{messages}");
    let room = world.room_get(BOB, "room-initial-sync", &[]).ok();
    assert!(!room.to_string().contains("secret"), "{room}");
    let query = [("room_id", ROOM), ("from", from.as_str()), ("timeout", "0")];
    let stream = world.get(BOB, "events", &[], &query).ok();
    assert_eq!(stream["chunk"], json!([]));
}

#[test]
fn a_time_finds_the_first_event_that_may_be_seen_however_many_come_before() {
    let world = world_with_room();
    world.visibility(ROOM, ALICE, "joined");
    let text = "x".to_owned();
    let hidden = Event {
        room: ROOM,
        sender: ALICE,
        kind: "m.room.message",
        state_key: None,
        content: json!({ "body": text }),
    };
    world.events_of(&vec![hidden; 600]);
    let join = world.join(ROOM, CAROL);
    let body = world.room_get(CAROL, "timestamp", &[("dir", "f"), ("ts", "0")]).ok();
    // The setting before was open to whoever joins later.
    assert_eq!(body["event_id"], "$e0");
    world.run(
        "rooms",
        "UPDATE rooms_events SET origin_ts = origin_ts + 1 WHERE position > $1 - 1",
        tessera_sdk::params![1],
        "",
    );
    let after = world.host.now_ms() + 1;
    world.run(
        "rooms",
        "UPDATE rooms_events SET origin_ts = 1 WHERE event_id IN ('$e0', '$e1', '$e2', '$e3', '$e4')",
        tessera_sdk::params![],
        "",
    );
    let ts = after.to_string();
    let body = world.room_get(CAROL, "timestamp", &[("dir", "f"), ("ts", &ts)]).ok();
    assert_eq!(body["event_id"], join);
}
