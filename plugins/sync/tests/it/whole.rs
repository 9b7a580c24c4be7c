//! Answers that tell all rooms are made in parts where they are long, and read as if they were made at once.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tessera_plugin_sync::Plugin;
use tessera_sdk::bindings::continuation::exports::tessera::plugin::continuation::Guest as _;

use crate::world::*;

const SIZES: [usize; 7] = [3, 1, 40, 5, 12, 2, 7];

/// Rooms of all sizes; carol has left two of them, and been invited to one.
fn rooms(world: &World) {
    for (n, size) in SIZES.iter().enumerate() {
        let room = format!("!r{n}:hs1");
        world.create(&room, CAROL);
        for m in 1..*size {
            world.join(&room, &format!("@user{m:02}:hs1"));
        }
        world.state(&room, CAROL, "m.room.name", "", json!({ "name": n }));
        world.say(&room, CAROL, "first");
        world.receipt(&room, "@user01:hs1", "m.read", "", "$e1");
        world.account_data(CAROL, &room, "m.tag", &json!({ "tags": { "a": {} } }));
    }
    world.leave("!r2:hs1", "@user03:hs1");
    for room in ["!r2:hs1", "!r4:hs1"] {
        world.member(room, "@user02:hs1", "@user02:hs1", "join");
        world.leave(room, CAROL);
        world.join(room, "@later:hs1");
    }
    world.create("!invited:hs1", ALICE);
    world.member("!invited:hs1", ALICE, CAROL, "invite");
}

/// Two servers that are alike, of which one tells few members at once.
fn both() -> [World; 2] {
    [json!({}), json!({ "members-at-once": 4 })].map(|config| {
        let world = world_with(&config);
        rooms(&world);
        world
    })
}

/// Events of state without the order, which means nothing.
fn sorted(mut body: Value) -> Value {
    for section in ["join", "leave"] {
        let rooms = body["rooms"][section].as_object_mut();
        for room in rooms.into_iter().flat_map(|rooms| rooms.values_mut()) {
            for name in ["state", "state_after"] {
                if let Some(events) = room[name]["events"].as_array_mut() {
                    events.sort_by_key(|event| event["event_id"].as_str().unwrap().to_owned());
                }
            }
        }
    }
    body
}

#[test]
fn parts_make_the_answer_that_one_reading_makes() {
    let [one, parts] = both();
    for filter in [
        r#"{"room":{"timeline":{"limit":1}}}"#,
        r#"{"room":{"timeline":{"limit":20}}}"#,
        r#"{"room":{"include_leave":true,"timeline":{"limit":2}}}"#,
        r#"{"room":{"state":{"senders":["@user01:hs1","@carol:hs1"]},"timeline":{"limit":1}}}"#,
        r#"{"room":{"state":{"not_types":["m.room.member"]}}}"#,
        r#"{"room":{"state":{"not_rooms":["!r3:hs1"],"lazy_load_members":true}}}"#,
        r#"{"event_fields":["type","state_key","event_id"],"room":{"timeline":{"limit":1}}}"#,
        r#"{"event_format":"federation","room":{"timeline":{"limit":1}}}"#,
    ] {
        for after in ["true", "false"] {
            let query = [("filter", filter), ("use_state_after", after)];
            let [whole, pieced] = [&one, &parts].map(|world| sorted(world.sync(CAROL, &query)));
            assert!(whole["rooms"]["join"].as_object().is_some_and(|rooms| rooms.len() >= 4));
            assert_eq!(pieced, whole, "{filter}");
        }
    }
}

#[test]
fn all_state_is_told_in_parts_to_a_client_that_knows_the_rooms_too() {
    let [one, parts] = both();
    let told = [&one, &parts].map(|world| {
        world.host.install();
        let first = token(&world.sync(CAROL, &[]));
        world.leave("!r6:hs1", CAROL);
        world.say("!r3:hs1", CAROL, "news");
        world.join("!r0:hs1", "@new:hs1");
        sorted(world.sync(CAROL, &[("since", &first), ("full_state", "true")]))
    });
    assert_eq!(told[1], told[0]);
    assert_eq!(told[0]["rooms"]["join"].as_object().unwrap().len(), 4);
    assert_eq!(told[0]["rooms"]["leave"].as_object().unwrap().len(), 1);
    assert_eq!(told[0]["device_lists"]["changed"], json!(["@new:hs1"]));
}

#[test]
fn no_reading_of_a_large_account_is_large() {
    let [_, parts] = both();
    let _ = parts.sync(CAROL, &[("filter", r#"{"room":{"timeline":{"limit":1}}}"#)]);
    let (calls, rows) = (parts.host.calls(), parts.host.rows());
    assert!(calls > 10, "{calls}");
    assert!(rows / calls < 40, "{rows} rows in {calls} calls");
}

#[test]
fn what_happens_between_parts_comes_with_the_next_answer() {
    let [one, parts] = both();
    let query = [("filter", r#"{"room":{"timeline":{"limit":1}}}"#)];
    one.host.install();
    let whole = sorted(one.sync(CAROL, &query));
    parts.host.install();
    let begun = parts.get(CAROL, "sync", &[], &query);
    for room in ["!r3:hs1", "!r5:hs1"] {
        parts.state(room, CAROL, "m.room.name", "", json!({ "name": "new" }));
        parts.join(room, "@new:hs1");
        parts.member(room, "@user01:hs1", "@user01:hs1", "join");
        parts.say(room, CAROL, "news");
    }
    parts.leave("!r6:hs1", CAROL);
    let mut pieced = sorted(begun.whole::<Plugin>());
    // The room that was left meanwhile may be missing: what became of it is told next.
    let left = pieced["rooms"]["join"].as_object_mut().unwrap().remove("!r6:hs1");
    assert_eq!(left, None);
    let mut expected = whole;
    expected["rooms"]["join"].as_object_mut().unwrap().remove("!r6:hs1");
    for body in [&mut pieced, &mut expected] {
        // Counted as they are now.
        for room in body["rooms"]["join"].as_object_mut().unwrap().values_mut() {
            room.as_object_mut().unwrap().remove("summary");
        }
    }
    assert_eq!(pieced, expected);
    let next = parts.since(CAROL, &token(&pieced));
    let rooms = &next["rooms"];
    assert_eq!(joined(&next, "!r3:hs1")["timeline"]["events"].as_array().unwrap().len(), 4);
    assert!(rooms["leave"]["!r6:hs1"].is_object(), "{rooms}");
}

#[test]
fn members_are_not_counted_where_rooms_keeps_count() {
    let world = world_with_room();
    world.run(
        "rooms",
        "INSERT INTO rooms_about (room_id, published, joined, joined_local, invited, state_events) \
         VALUES ($1, FALSE, 12345, 12345, 6, 0)",
        tessera_sdk::params![ROOM],
        "",
    );
    let body = world.sync(ALICE, &[]);
    let summary = &joined(&body, ROOM)["summary"];
    assert_eq!(summary["m.joined_member_count"], 12345);
    assert_eq!(summary["m.invited_member_count"], 6);
    assert_eq!(summary["m.heroes"], json!([BOB]));
    // A name that was taken away is none.
    world.state(ROOM, ALICE, "m.room.name", "", json!({ "name": "N" }));
    assert!(joined(&world.sync(ALICE, &[]), ROOM)["summary"].get("m.heroes").is_none());
    world.state(ROOM, ALICE, "m.room.name", "", json!({}));
    assert_eq!(joined(&world.sync(ALICE, &[]), ROOM)["summary"]["m.heroes"], json!([BOB]));
}

/// The pieces of an answer, none of which is large, and all of them as one.
fn small_pieces(world: &World, query: &[(&str, &str)]) -> (usize, Value) {
    let pieces = world.get(ALICE, "sync", &[], query).pieces::<Plugin>();
    let sizes: Vec<usize> = pieces.iter().map(Vec::len).collect();
    assert!(sizes.iter().all(|size| *size < 9 << 20), "{sizes:?}");
    (sizes.len(), serde_json::from_slice(&pieces.concat()).expect("JSON"))
}

#[test]
fn large_member_events_make_no_large_piece() {
    let world = world();
    let rooms = [("!a:hs1", 100), ("!b:hs1", 2_700), ("!c:hs1", 100), ("!d:hs1", 100)];
    for (room, _) in rooms {
        world.create(room, ALICE);
    }
    let first = token(&world.sync(ALICE, &[]));
    let name = "n".repeat(8 << 10);
    for (room, members) in rooms {
        for n in 0..members {
            let user = format!("@user{n:04}:hs1");
            let content = json!({ "membership": "join", "displayname": name });
            world.state(room, &user, "m.room.member", &user, content);
        }
    }
    let filter = ("filter", r#"{"room":{"timeline":{"limit":0}}}"#);
    // New, or away for long: what has changed is as much.
    for query in [vec![filter], vec![filter, ("since", first.as_str())]] {
        let (pieces, body) = small_pieces(&world, &query);
        assert!((4..20).contains(&pieces), "{pieces}");
        for (room, members) in rooms {
            let room = joined(&body, room);
            let told = room["state"]["events"].as_array().unwrap().iter();
            let told = told.filter(|event| event["type"] == "m.room.member");
            let told: Vec<&str> = told.map(|event| event["state_key"].as_str().unwrap()).collect();
            assert_eq!(told.len(), members + 1);
            assert_eq!(BTreeSet::from_iter(told).len(), members + 1, "each once");
        }
    }
}

#[test]
fn large_messages_make_no_large_piece() {
    let world = world();
    let text = "n".repeat(60 << 10);
    let rooms: Vec<String> = (0..20).map(|n| format!("!r{n:02}:hs1")).collect();
    for room in &rooms {
        world.create(room, ALICE);
        for _ in 0..11 {
            world.say(room, ALICE, &text);
        }
    }
    let lazy = r#"{"room":{"state":{"lazy_load_members":true}}}"#;
    for query in [vec![], vec![("filter", lazy)]] {
        let (pieces, body) = small_pieces(&world, &query);
        assert!((2..20).contains(&pieces), "{pieces}");
        for room in &rooms {
            assert_eq!(joined(&body, room)["timeline"]["events"].as_array().unwrap().len(), 10);
        }
    }
}

/// As after a join, or a leave and a join, between the look at the rooms' sizes and the reading.
#[test]
fn a_room_that_was_not_counted_before_a_large_one_is_told_too() {
    let [_, parts] = both();
    parts.host.install();
    let ask = json!({
        "since": null, "filter": r#"{"room":{"timeline":{"limit":1}}}"#, "full_state": false,
        "use_state_after": true, "deadline_ms": 0, "rooms": 0, "held_until_ms": null,
    });
    let state = json!({
        "ask": ask, "horizon": 1_000_000, "section": "Join", "after": "!r3:hs1",
        "cuts": [{ "upto": "!r6:hs1", "large": true }, { "upto": null, "large": false }],
        "some": false, "open": null, "members": 4,
    });
    let principal = tessera_sdk::http::Principal {
        user: CAROL.to_owned(),
        device: Some("D".to_owned()),
        service: None,
        marks: Vec::new(),
        unlimited: false,
        rates: Vec::new(),
    };
    let mut text = b"{".to_vec();
    let mut more = Some([b"\x01", state.to_string().as_bytes()].concat());
    while let Some(state) = more {
        let piece = Plugin::next("sync".to_owned(), state, Some(principal.clone())).unwrap();
        text.extend(piece.bytes);
        more = piece.more;
    }
    text.truncate(text.len() - "}}".len());
    let rooms: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(rooms.as_object().unwrap().len(), 2, "{rooms}");
    for (room, members) in [("!r5:hs1", SIZES[5]), ("!r6:hs1", SIZES[6])] {
        let state = rooms[room]["state_after"]["events"].as_array().unwrap();
        let told = state.iter().filter(|event| event["type"] == "m.room.member").count();
        assert_eq!(told, members, "{room}");
    }
}
