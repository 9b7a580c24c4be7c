//! What was sent over a connection, and tokens.

use serde_json::json;
use tessera_sdk::storage;
use tessera_sdk::{cache, params};

use super::*;

fn versions(world: &World) -> i64 {
    world.host.acting("sync", || {
        let rows = storage::query("SELECT COUNT(*) AS n FROM sync_connections", params![]).unwrap();
        rows.first::<(i64,)>().unwrap().unwrap().0
    })
}

#[test]
fn a_room_is_told_whole_once_and_then_by_what_is_new() {
    let world = world_with_room();
    let first = next(&world, ALICE, &all(), None);
    let room = &first["rooms"][ROOM];
    assert_eq!(room["initial"], true);
    assert_eq!(room["timeline"].as_array().unwrap().len(), 4);
    assert_eq!(room["num_live"], 0);
    assert_eq!(room["limited"], false);
    assert_eq!(state(&first, ROOM), ["m.room.create"]);
    let quiet = next(&world, ALICE, &all(), Some(&first));
    assert!(told(&quiet).is_empty(), "{quiet}");
    let id = world.say(ROOM, BOB, "hi");
    let body = next(&world, ALICE, &all(), Some(&quiet));
    let room = &body["rooms"][ROOM];
    assert_eq!(timeline(&body, ROOM), [id]);
    assert!(room.get("initial").is_none() && room.get("required_state").is_none());
    assert_eq!((room["num_live"].as_i64(), room["limited"].as_bool()), (Some(1), Some(false)));
}

#[test]
fn a_request_that_is_repeated_gets_the_same_answer() {
    let world = world_with_room();
    world.create("!other:hs1", ALICE);
    let narrow = json!({ "lists": { "l": { "range": [0, 0], "timeline_limit": 1 } } });
    let wide = json!({ "lists": { "l": { "range": [0, 9], "timeline_limit": 1 } } });
    let first = next(&world, ALICE, &narrow, None);
    assert_eq!(told(&first), ["!other:hs1"]);
    let lost = next(&world, ALICE, &wide, Some(&first));
    let again = next(&world, ALICE, &wide, Some(&first));
    assert_eq!(told(&lost), [ROOM]);
    assert_eq!(lost["rooms"], again["rooms"]);
    assert!(told(&next(&world, ALICE, &wide, Some(&again))).is_empty());
}

#[test]
fn another_process_goes_on_where_the_first_one_stopped() {
    let world = world_with_room();
    let first = next(&world, ALICE, &all(), None);
    let serial = pos(&first).split('_').nth(1).unwrap().to_owned();
    world.host.acting("sync", || cache::remove(&format!("conn:{ALICE}\nD\n\n{serial}")));
    let id = world.say(ROOM, BOB, "hi");
    let body = next(&world, ALICE, &all(), Some(&first));
    assert!(body["rooms"][ROOM].get("initial").is_none(), "{body}");
    assert_eq!(timeline(&body, ROOM), [id]);
}

#[test]
fn tokens_that_are_not_known_are_refused() {
    let world = world_with_room();
    let first = next(&world, ALICE, &all(), None);
    let refused = |user: &str, body: &Value| ask(&world, user, body).error();
    let unknown = (400, "M_UNKNOWN_POS".to_owned());
    assert_eq!(refused(ALICE, &with_pos(&all(), "s5")), unknown);
    assert_eq!(refused(BOB, &with_pos(&all(), &pos(&first))), unknown, "another's");
    let mut other = with_pos(&all(), &pos(&first));
    other["conn_id"] = "other".into();
    assert_eq!(refused(ALICE, &other), unknown, "another connection's");
    // Who starts anew leaves the old connection behind.
    world.host.advance(5);
    let again = next(&world, ALICE, &all(), None);
    let serial = pos(&first).split('_').nth(1).unwrap().to_owned();
    world.host.acting("sync", || cache::remove(&format!("conn:{ALICE}\nD\n\n{serial}")));
    assert_eq!(refused(ALICE, &with_pos(&all(), &pos(&first))), unknown, "too old");
    ask(&world, ALICE, &with_pos(&all(), &pos(&again))).ok();
}

#[test]
fn what_has_not_changed_is_not_written() {
    let world = world_with_room();
    let first = next(&world, ALICE, &all(), None);
    assert_eq!(versions(&world), 1);
    world.say(ROOM, BOB, "hi");
    let body = next(&world, ALICE, &all(), Some(&first));
    assert_eq!(versions(&world), 1);
    let serial = |body: &Value| pos(body).split('_').nth(1).unwrap().to_owned();
    assert_eq!(serial(&body), serial(&first));
    let nothing = next(&world, BOB, &json!({}), None);
    assert_eq!(serial(&nothing), "0", "nothing was sent");
    assert_eq!(versions(&world), 1);
    ask(&world, BOB, &with_pos(&json!({}), &pos(&nothing))).ok();
}

#[test]
fn old_versions_connections_and_leftovers_make_room() {
    let world = world_with_room();
    let list = |last: u64| json!({ "lists": { "l": { "range": [0, last], "timeline_limit": 1 } } });
    for n in 0..12 {
        world.create(&format!("!r{n}:hs1"), ALICE);
    }
    let mut last = next(&world, ALICE, &list(0), None);
    for n in 1..12 {
        world.host.advance(5);
        let lost = next(&world, ALICE, &list(n), Some(&last));
        world.host.advance(5);
        let got = next(&world, ALICE, &list(n), Some(&last));
        assert_eq!(told(&lost), told(&got));
        last = got;
    }
    assert!(versions(&world) <= 4, "{}", versions(&world));
    for n in 0..12 {
        world.host.advance(5);
        let mut body = list(0);
        body["conn_id"] = format!("c{n}").into();
        next(&world, ALICE, &body, None);
    }
    assert!(versions(&world) <= 8, "{}", versions(&world));
    world.host.advance(61 * 24 * 60 * 60 * 1000);
    next(&world, BOB, &list(0), None);
    assert_eq!(versions(&world), 1, "what nobody came back for is gone");
}

#[test]
fn who_left_a_room_out_is_told_what_was_missed() {
    let world = world_with_room();
    world.create("!other:hs1", ALICE);
    let both = json!({ "lists": { "l": { "range": [0, 9], "timeline_limit": 5 } } });
    let top = json!({ "lists": { "l": { "range": [0, 0], "timeline_limit": 5 } } });
    let first = next(&world, ALICE, &both, None);
    let missed = world.say(ROOM, BOB, "missed");
    world.say("!other:hs1", ALICE, "newer");
    let body = next(&world, ALICE, &top, Some(&first));
    assert_eq!(told(&body), ["!other:hs1"]);
    world.say("!other:hs1", ALICE, "newest");
    let body = next(&world, ALICE, &top, Some(&body));
    let body = next(&world, ALICE, &both, Some(&body));
    assert_eq!(told(&body), [ROOM]);
    assert_eq!(timeline(&body, ROOM), [missed]);
    assert!(body["rooms"][ROOM].get("initial").is_none());
    assert_eq!(body["rooms"][ROOM]["num_live"], 0, "it is older than the token");
}
