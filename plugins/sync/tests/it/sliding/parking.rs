//! Long polls.

use serde_json::json;
use tessera_sdk::http::WakeReason::{Timeout, Woken};

use super::*;

fn waiting(body: &Value) -> Value {
    let mut body = body.clone();
    body["timeout"] = 30_000.into();
    body
}

#[test]
fn an_idle_client_waits_and_is_woken_by_what_matters() {
    let world = world_with_room();
    let first = next(&world, ALICE, &all(), None);
    let poll = waiting(&all());
    let answer = ask(&world, ALICE, &with_pos(&poll, &pos(&first)));
    assert!(world.host.calls() <= 2);
    let parking = answer.parked().expect("nothing is new");
    assert_eq!(parking.timeout_ms, 30_000);
    let mut topics = world.host.watched(parking.watch);
    topics.sort();
    assert_eq!(topics, [format!("room:{ROOM}"), format!("user:{ALICE}")]);
    let watch = parking.watch;
    let id = world.say(ROOM, BOB, "hi");
    assert!(world.host.watch_fired(watch));
    let answer = world.resume(&answer, Woken);
    assert!(world.host.calls() <= 3);
    let body = answer.ok();
    assert_eq!(timeline(&body, ROOM), [id]);
}

#[test]
fn woken_in_vain_waits_on_and_the_time_over_answers() {
    let world = world_with_room();
    let first = next(&world, ALICE, &all(), None);
    let answer = ask(&world, ALICE, &with_pos(&waiting(&all()), &pos(&first)));
    world.host.advance(10_000);
    world.typing(ROOM, BOB, 50_000);
    let again = world.resume(&answer, Woken);
    assert_eq!(again.parked().expect("typing was not asked for").timeout_ms, 20_000);
    world.host.advance(20_000);
    let body = world.resume(&again, Timeout).ok();
    assert!(told(&body).is_empty());
    assert_eq!(body["lists"]["all"]["count"], 1);
    let id = world.say(ROOM, BOB, "hi");
    assert_eq!(timeline(&next(&world, ALICE, &all(), Some(&body)), ROOM), [id]);
}

#[test]
fn a_first_request_does_not_wait() {
    let world = world();
    let body = ask(&world, ALICE, &waiting(&json!({}))).ok();
    assert_eq!(told(&body).len(), 0);
}

#[test]
fn wider_ranges_and_longer_timelines_do_not_wait() {
    let world = world_with_room();
    world.create("!other:hs1", ALICE);
    let list = |last: u64, limit: u64| {
        waiting(&json!({ "lists": { "l": { "range": [0, last], "timeline_limit": limit } } }))
    };
    let first = next(&world, ALICE, &list(0, 1), None);
    let wider = ask(&world, ALICE, &with_pos(&list(1, 1), &pos(&first))).ok();
    assert_eq!(told(&wider), [ROOM]);
    let longer = ask(&world, ALICE, &with_pos(&list(1, 3), &pos(&wider))).ok();
    assert_eq!(told(&longer).len(), 2);
    assert!(ask(&world, ALICE, &with_pos(&list(1, 3), &pos(&longer))).parked().is_some());
}

#[test]
fn what_happens_out_of_reach_while_waiting_is_told_later() {
    let world = world_with_room();
    world.create("!other:hs1", ALICE);
    let both = json!({ "lists": { "l": { "range": [0, 9], "timeline_limit": 5 } } });
    let only = json!({ "room_subscriptions": { "!other:hs1": { "timeline_limit": 5 } } });
    let first = next(&world, ALICE, &both, None);
    let answer = ask(&world, ALICE, &with_pos(&waiting(&only), &pos(&first)));
    let watch = answer.parked().unwrap().watch;
    assert!(!world.host.watched(watch).contains(&format!("room:{ROOM}")));
    let missed = world.say(ROOM, BOB, "missed");
    // Something wakes, and is nothing for this connection.
    world.receipt("!other:hs1", ALICE, "m.read", "", "$e1");
    let answer = world.resume(&answer, Woken);
    let id = world.say("!other:hs1", ALICE, "hi");
    let body = world.resume(&answer, Woken).ok();
    assert_eq!(timeline(&body, "!other:hs1"), [id]);
    let body = next(&world, ALICE, &both, Some(&body));
    assert_eq!(timeline(&body, ROOM), [missed]);
}

#[test]
fn long_wishes_are_kept_elsewhere_while_waiting() {
    let world = world_with_room();
    let mut body = all();
    for n in 0..100 {
        let wish = json!({ "timeline_limit": n, "required_state": { "include": [{ "type": format!("org.example.{n:0200}") }] } });
        body["room_subscriptions"][format!("!{n}:hs1")] = wish;
    }
    let first = next(&world, ALICE, &body, None);
    let answer = ask(&world, ALICE, &with_pos(&waiting(&body), &pos(&first)));
    assert!(answer.parked().unwrap().state.len() < 1000);
    let id = world.say(ROOM, BOB, "hi");
    assert_eq!(timeline(&world.resume(&answer, Woken).ok(), ROOM), [id]);
    let answer = ask(&world, ALICE, &with_pos(&waiting(&body), &pos(&first)));
    assert!(answer.parked().is_none(), "a message is there");
}
