//! Long polls.

use tessera_sdk::http::WakeReason::{Timeout, Woken};
use tessera_test_host::TestAnswer;

use crate::world::*;

fn poll(world: &World, user: &str, since: &str) -> TestAnswer {
    world.get(user, "sync", &[], &[("since", since), ("timeout", "30000")])
}

#[test]
fn an_idle_client_waits_for_its_rooms_and_itself() {
    let world = world_with_room();
    world.create("!bobs:hs1", BOB);
    let first = token(&world.sync(ALICE, &[]));
    let answer = poll(&world, ALICE, &first);
    assert!(world.host.calls() <= 2);
    let parking = answer.parked().expect("nothing is new");
    assert_eq!(parking.timeout_ms, 30_000);
    assert!(parking.state.len() < 500, "kept for every idle client");
    let mut topics = world.host.watched(parking.watch);
    topics.sort();
    assert_eq!(topics, [format!("room:{ROOM}"), format!("user:{ALICE}")]);
    let watch = parking.watch;

    world.say("!bobs:hs1", BOB, "not for alice");
    assert!(!world.host.watch_fired(watch));
    let id = world.say(ROOM, BOB, "hi");
    assert!(world.host.watch_fired(watch));
    let answer = world.resume(&answer, Woken);
    assert!(world.host.calls() <= 2);
    let body = answer.ok();
    assert_eq!(ids(&joined(&body, ROOM)["timeline"]["events"]), [id]);
}

#[test]
fn what_comes_between_look_and_watch_is_not_missed() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    world.say(ROOM, BOB, "hi");
    assert!(poll(&world, ALICE, &first).parked().is_none());
}

#[test]
fn the_time_over_answers_with_nothing() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    let answer = poll(&world, ALICE, &first);
    world.host.advance(30_000);
    let body = world.resume(&answer, Timeout).ok();
    assert!(body.get("rooms").is_none());
    assert!(body["next_batch"].is_string());
}

#[test]
fn woken_for_nothing_waits_on_for_the_rest() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    let answer = poll(&world, ALICE, &first);
    world.host.advance(10_000);
    world.receipt(ROOM, BOB, "m.read.private", "", "$e1");
    let again = world.resume(&answer, Woken);
    assert_eq!(again.parked().expect("a private receipt is none of alice's").timeout_ms, 20_000);
    let id = world.say(ROOM, BOB, "hi");
    let body = world.resume(&again, Woken).ok();
    assert_eq!(ids(&joined(&body, ROOM)["timeline"]["events"]), [id]);
}

#[test]
fn a_join_wakes_and_tells_the_new_room_in_three_storage_calls() {
    let world = world_with_room();
    let first = token(&world.sync(CAROL, &[]));
    let answer = poll(&world, CAROL, &first);
    let watch = answer.parked().unwrap().watch;
    world.join(ROOM, CAROL);
    assert!(world.host.watch_fired(watch));
    let answer = world.resume(&answer, Woken);
    assert!(world.host.calls() <= 3);
    assert!(joined(&answer.ok(), ROOM)["state"].is_object());
}

#[test]
fn an_answer_waits_a_moment_for_its_unread_counts() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    let answer = poll(&world, ALICE, &first);
    world.progress(ROOM, 1);
    world.say(ROOM, BOB, "hi");
    let held = world.resume(&answer, Woken);
    let parking = held.parked().expect("push has not come so far");
    assert_eq!(parking.timeout_ms, 50);
    assert_eq!(world.host.watched(parking.watch), ["push.progress"]);
    // Progress that is not enough does not make the wait longer.
    world.host.advance(20);
    let held = world.resume(&held, Woken);
    assert_eq!(held.parked().expect("still behind").timeout_ms, 30);
    world.counts(ALICE, ROOM, "", 1, 0);
    world.progress(ROOM, 1000);
    let body = world.resume(&held, Woken).ok();
    assert_eq!(joined(&body, ROOM)["unread_notifications"]["notification_count"], 1);
}

#[test]
fn an_answer_goes_out_when_push_is_late() {
    let world = world_with_room();
    world.progress(ROOM, 1);
    let first = token(&world.sync(ALICE, &[]));
    world.say(ROOM, BOB, "hi");
    let held = poll(&world, ALICE, &first);
    assert_eq!(held.parked().expect("held").timeout_ms, 50);
    let body = world.resume(&held, Timeout).ok();
    assert_eq!(joined(&body, ROOM)["timeline"]["events"].as_array().unwrap().len(), 1);
    // One's own messages have nothing to wait for.
    let next = token(&body);
    world.say(ROOM, ALICE, "mine");
    let answer = poll(&world, ALICE, &next);
    assert!(answer.parked().is_none());
    // But where anything is unread they mark it as read.
    world.counts(ALICE, ROOM, "", 2, 0);
    let next = token(&world.since(ALICE, &token(&answer.ok())));
    world.say(ROOM, ALICE, "mine, too");
    let held = poll(&world, ALICE, &next);
    assert_eq!(held.parked().expect("held").timeout_ms, 50);
    world.counts(ALICE, ROOM, "", 0, 0);
    world.progress(ROOM, 1000);
    let body = world.resume(&held, Woken).ok();
    assert_eq!(joined(&body, ROOM)["unread_notifications"]["notification_count"], 0);
}

#[test]
fn stored_filters_hold_while_parked() {
    let world = world_with_room();
    world.run(
        "accounts",
        "INSERT INTO accounts_filters (user_id, filter_id, json) VALUES ($1, 'f', $2)",
        tessera_sdk::params![ALICE, r#"{"room":{"timeline":{"not_types":["m.room.message"]}}}"#],
        "",
    );
    let first = token(&world.sync(ALICE, &[("filter", "f")]));
    let query = [("since", first.as_str()), ("timeout", "30000"), ("filter", "f")];
    let answer = world.get(ALICE, "sync", &[], &query);
    world.say(ROOM, BOB, "filtered");
    let answer = world.resume(&answer, Woken);
    assert!(answer.parked().is_some());
    let id = world.state(ROOM, BOB, "m.room.topic", "", serde_json::json!({}));
    let body = world.resume(&answer, Woken).ok();
    assert_eq!(ids(&joined(&body, ROOM)["timeline"]["events"]), [id]);
}

#[test]
fn an_inline_filter_is_refused_that_could_not_be_kept() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    // Each quote takes two bytes where it is kept.
    let filter = |rooms: usize| {
        let none = vec!["\"\""; rooms].join(",");
        format!("{{\"room\":{{\"ephemeral\":{{\"not_rooms\":[{none}]}}}}}}")
    };
    let ask = |filter: &str| {
        let query = [("since", first.as_str()), ("timeout", "30000"), ("filter", filter)];
        world.get(ALICE, "sync", &[], &query)
    };
    let state = ask(&filter(2_000)).parked().expect("nothing is new").state.len();
    assert!((10_000..11_000).contains(&state), "{state}");
    assert_eq!(ask(&filter(3_000)).error(), (400, "M_INVALID_PARAM".to_owned()));
}
