//! Sizes at which work for each room would be felt. Times are printed, call counts are asserted.

use std::time::Instant;

use serde_json::json;
use tessera_sdk::http::WakeReason::Woken;

use super::*;

fn many(world: &World, rooms: usize, messages: usize) {
    for n in 0..rooms {
        let room = format!("!r{n}:hs1");
        world.create(&room, ALICE);
        world.join(&room, BOB);
        let sent: Vec<Event<'_>> = (0..messages)
            .map(|_| Event {
                room: &room,
                sender: BOB,
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
fn three_hundred_rooms_cost_four_storage_calls() {
    let world = world();
    many(&world, 300, 40);
    let wish = |last: u64| {
        json!({
            "lists": { "l": { "range": [0, last], "timeline_limit": 20,
                "required_state": [["m.room.member", "$LAZY"], ["m.room.member", "$ME"], ["m.room.create", ""]],
                "filters": { "not_room_types": ["m.space"] } } },
            "extensions": { "account_data": { "enabled": true }, "receipts": { "enabled": true },
                "typing": { "enabled": true }, "e2ee": { "enabled": true }, "to_device": { "enabled": true } },
        })
    };
    timed("300 rooms, the first 20", || ask(&world, ALICE, &wish(19)));
    assert!(world.host.calls() <= 4);
    let _ = world.host.rows();
    world.host.advance(10);
    let answer = ask(&world, ALICE, &wish(19));
    let rows = world.host.rows();
    eprintln!("300 rooms, the first 20: {rows} rows");
    // The user's rooms, what the filter looks at, and 20 timelines; not the 13,000 events of all.
    assert!(rows < 2_000, "{rows}");
    let first = answer.ok();
    assert_eq!((told(&first).len(), first["lists"]["l"]["count"].as_i64()), (20, Some(300)));
    let wider = with_pos(&wish(299), &pos(&first));
    let answer = timed("300 rooms, the other 280", || ask(&world, ALICE, &wider));
    assert!(world.host.calls() <= 4);
    let all = answer.ok();
    assert_eq!(told(&all).len(), 280);
    let mut poll = with_pos(&wish(299), &pos(&all));
    poll["timeout"] = 30_000.into();
    let parked = timed("300 rooms, nothing new", || ask(&world, ALICE, &poll));
    assert!(world.host.calls() <= 2);
    let id = world.say("!r7:hs1", BOB, "hi");
    let answer = timed("300 rooms, woken", || world.resume(&parked, Woken));
    assert!(world.host.calls() <= 4);
    assert_eq!(timeline(&answer.ok(), "!r7:hs1"), [id]);
}

#[test]
fn a_window_that_moves_costs_four_storage_calls() {
    let world = world();
    many(&world, 30, 3);
    let wish = json!({ "lists": { "l": { "range": [0, 9], "timeline_limit": 2,
        "required_state": [["m.room.member", "$LAZY"]] } }, "timeout": 30_000 });
    let first = next(&world, ALICE, &wish, None);
    let parked = ask(&world, ALICE, &with_pos(&wish, &pos(&first)));
    world.say("!r0:hs1", BOB, "up");
    let answer = world.resume(&parked, Woken);
    assert!(world.host.calls() <= 4);
    let body = answer.ok();
    assert_eq!(told(&body), ["!r0:hs1"]);
    assert_eq!(body["rooms"]["!r0:hs1"]["initial"], true);
    assert_eq!(body["rooms"]["!r0:hs1"]["num_live"], 1, "a message may make a noise");
}

#[test]
fn what_is_too_much_for_one_answer_comes_with_the_next() {
    let world = world();
    many(&world, 60, 1);
    let wish =
        json!({ "lists": { "l": { "range": [0, 99], "timeline_limit": 500 } }, "timeout": 30_000 });
    let mut seen = 0;
    let mut last = None;
    for _ in 0..3 {
        let body = match &last {
            None => ask(&world, ALICE, &wish),
            Some(after) => ask(&world, ALICE, &with_pos(&wish, &pos(after))),
        };
        if body.parked().is_some() {
            break;
        }
        let body = body.ok();
        seen += told(&body).len();
        last = Some(body);
    }
    assert_eq!(seen, 60);
}
