//! Messages to devices and counts of keys.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tessera_sdk::http::WakeReason::Woken;
use tessera_sdk::params;

use crate::world::*;

fn told(body: &Value) -> Vec<u64> {
    let events = body["to_device"]["events"].as_array().cloned().unwrap_or_default();
    events.iter().map(|event| event["content"]["n"].as_u64().unwrap()).collect()
}

/// Positions acknowledged, as the service saw them.
fn acknowledged(world: &World) -> Arc<Mutex<Vec<(String, String, u64)>>> {
    let calls: Arc<Mutex<Vec<_>>> = Arc::default();
    let seen = Arc::clone(&calls);
    world.host.services(|services| {
        services.acknowledge_to_device = Arc::new(move |host, user, device, position| {
            seen.lock().unwrap().push((user.to_owned(), device.to_owned(), position));
            host.acting("keys", || {
                tessera_sdk::storage::Batch::new()
                    .run(
                        "DELETE FROM keys_to_device WHERE user_id = $1 AND device_id = $2 AND position <= $3",
                        params![user, device, position],
                    )
                    .commit()
                    .unwrap();
            });
            Ok(())
        });
    });
    calls
}

#[test]
fn messages_reach_their_device_once_and_are_acknowledged_by_the_next_token() {
    let world = world_with_room();
    let calls = acknowledged(&world);
    let first = token(&world.sync(ALICE, &[]));
    world.to_device(ALICE, "OTHER", "m.test", 9);
    world.to_device(ALICE, "D", "m.test", 1);
    world.to_device(ALICE, "D", "m.test", 2);
    let body = world.since(ALICE, &first);
    assert_eq!(
        body["to_device"]["events"][0],
        json!({ "type": "m.test", "sender": BOB, "content": { "n": 1 } })
    );
    assert_eq!(told(&body), [1, 2]);
    assert!(calls.lock().unwrap().is_empty(), "the answer may have been lost");
    // It was: the client comes back with the old token.
    assert_eq!(told(&world.since(ALICE, &first)), [1, 2]);
    let next = token(&body);
    assert!(told(&world.since(ALICE, &next)).is_empty());
    let calls = calls.lock().unwrap();
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].0.as_str(), calls[0].1.as_str()), (ALICE, "D"));
    assert!(calls[0].2 <= next[1..].parse().unwrap());
}

#[test]
fn more_than_a_hundred_come_in_several_answers_and_nothing_is_told_twice() {
    let world = world_with_room();
    let _calls = acknowledged(&world);
    let first = token(&world.sync(ALICE, &[]));
    for n in 0..250 {
        world.to_device(ALICE, "D", "m.test", n);
    }
    let message = world.say(ROOM, BOB, "once");
    let body = world.since(ALICE, &first);
    assert_eq!(told(&body), (0..100).collect::<Vec<u64>>());
    assert_eq!(ids(&joined(&body, ROOM)["timeline"]["events"]), [message]);
    // Asked with patience: what is left does not wait.
    let second = token(&body);
    let query = [("since", second.as_str()), ("timeout", "30000")];
    let body = world.sync(ALICE, &query);
    assert_eq!(told(&body), (100..200).collect::<Vec<u64>>());
    assert!(body.get("rooms").is_none(), "{body}");
    let body = world.since(ALICE, &token(&body));
    assert_eq!(told(&body), (200..250).collect::<Vec<u64>>());
    assert!(!token(&body).contains('_'));
    assert!(told(&world.since(ALICE, &token(&body))).is_empty());
}

#[test]
fn what_was_not_told_is_not_acknowledged() {
    let world = world_with_room();
    let calls = acknowledged(&world);
    for n in 0..101 {
        world.to_device(ALICE, "D", "m.test", n);
    }
    let body = world.sync(ALICE, &[]);
    assert_eq!(told(&body).len(), 100);
    let body = world.since(ALICE, &token(&body));
    assert_eq!(told(&body), [100]);
    assert_eq!(calls.lock().unwrap().len(), 1);
}

#[test]
fn a_message_wakes_a_waiting_device_in_two_storage_calls() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    let query = [("since", first.as_str()), ("timeout", "30000")];
    let answer = world.get(ALICE, "sync", &[], &query);
    let watch = answer.parked().expect("nothing is new").watch;
    world.to_device(ALICE, "D", "m.test", 1);
    assert!(world.host.watch_fired(watch));
    let answer = world.resume(&answer, Woken);
    assert!(world.host.calls() <= 2);
    assert_eq!(told(&answer.ok()), [1]);
}

#[test]
fn a_device_made_anew_does_not_get_what_was_sent_to_the_one_before() {
    let world = world_with_room();
    world.to_device(ALICE, "D", "m.test", 1);
    let sql = "INSERT INTO accounts_devices (user_id, device_id, position) VALUES ($1, 'D', $P)";
    world.run("accounts", sql, params![ALICE], "");
    world.to_device(ALICE, "D", "m.test", 2);
    assert_eq!(told(&world.sync(ALICE, &[])), [2]);
}

#[test]
fn messages_above_the_horizon_wait() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    world.to_device(ALICE, "D", "m.test", 1);
    world.host.hold_horizon(world.host.horizon());
    world.to_device(ALICE, "D", "m.test", 2);
    let body = world.since(ALICE, &first);
    assert_eq!(told(&body), [1]);
    world.host.release_horizon();
    assert_eq!(told(&world.since(ALICE, &token(&body))), [2]);
}

#[test]
fn keys_that_are_left_are_counted() {
    let world = world_with_room();
    let insert = |table: &str, rest: &str| {
        let sql = format!(
            "INSERT INTO keys_{table} (user_id, device_id, key_id, json, {rest}, position) VALUES ($1, {}, $P)",
            match table {
                "fallback" => "'D', 'f', '{}', 'signed_curve25519', FALSE",
                _ => "'D', 'k', '{}', 'signed_curve25519'",
            }
        );
        world.run("keys", &sql, params![ALICE], "");
    };
    insert("one_time", "algorithm");
    insert("fallback", "algorithm, used");
    let body = world.sync(ALICE, &[]);
    assert_eq!(body["device_one_time_keys_count"], json!({ "signed_curve25519": 1 }));
    assert_eq!(body["device_unused_fallback_key_types"], json!(["signed_curve25519"]));
    let body = world.sync(BOB, &[]);
    assert_eq!(body["device_one_time_keys_count"], json!({ "signed_curve25519": 0 }));
}
