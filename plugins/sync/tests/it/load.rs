//! Sizes at which work for each room would be felt. Times are printed, call counts are asserted.

use std::time::Instant;

use serde_json::json;
use tessera_sdk::http::WakeReason::Woken;

use crate::world::*;

fn many(world: &World, rooms: usize, members: usize, messages: usize) {
    for n in 0..rooms {
        let room = format!("!r{n}:hs1");
        world.create(&room, ALICE);
        let users: Vec<String> = (1..members).map(|m| format!("@user{m}:hs1")).collect();
        let joins: Vec<Event<'_>> = users
            .iter()
            .map(|user| Event {
                room: &room,
                sender: user,
                kind: "m.room.member",
                state_key: Some(user),
                content: json!({ "membership": "join", "displayname": "Somebody" }),
            })
            .collect();
        world.events_of(&joins);
        let sent: Vec<Event<'_>> = (0..messages)
            .map(|m| Event {
                room: &room,
                sender: users.get(m % members.max(2)).map_or(ALICE, String::as_str),
                kind: "m.room.message",
                state_key: None,
                content: json!({ "msgtype": "m.text", "body": "hello there, this is a message" }),
            })
            .collect();
        if !sent.is_empty() {
            world.events_of(&sent);
        }
    }
}

fn timed<T>(what: &str, f: impl Fn() -> T) -> T {
    let mut best = f64::MAX;
    let mut last = None;
    for _ in 0..5 {
        let start = Instant::now();
        last = Some(f());
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    eprintln!("{what}: {best:.2} ms");
    last.unwrap()
}

#[test]
fn initial_sync_of_twenty_rooms_takes_three_storage_calls() {
    let world = world();
    many(&world, 20, 25, 30);
    let filter = r#"{"room":{"timeline":{"limit":20}}}"#;
    let lazy = r#"{"room":{"timeline":{"limit":20},"state":{"lazy_load_members":true}}}"#;
    for (what, filter) in [("initial, full", filter), ("initial, lazy", lazy)] {
        let answer = timed(what, || world.get(ALICE, "sync", &[], &[("filter", filter)]));
        assert_eq!(world.host.calls(), 3);
        let body = answer.ok();
        assert_eq!(body["rooms"]["join"].as_object().unwrap().len(), 20);
    }
}

#[test]
fn a_thousand_rooms_do_not_need_more_storage_calls() {
    let world = world();
    many(&world, 1000, 2, 0);
    let first = token(&world.sync(ALICE, &[]));
    let query = [("since", first.as_str()), ("timeout", "30000")];
    let parked = timed("1000 rooms, nothing new", || world.get(ALICE, "sync", &[], &query));
    assert!(world.host.calls() <= 2);
    world.say("!r7:hs1", "@user1:hs1", "hi");
    let body = timed("1000 rooms, woken", || world.resume(&parked, Woken)).ok();
    assert!(world.host.calls() <= 2);
    assert_eq!(body["rooms"]["join"].as_object().unwrap().len(), 1);
    for n in 0..1000 {
        world.say(&format!("!r{n}:hs1"), "@user1:hs1", "hi");
    }
    let answer = timed("1000 rooms, news in each", || world.get(ALICE, "sync", &[], &query));
    assert!(world.host.calls() <= 4);
    assert_eq!(answer.ok()["rooms"]["join"].as_object().unwrap().len(), 1000);
}
