//! What it adds to the contract of `presence`: users fall idle by themselves. What it shares with every presence service is held
//! by the contract suite.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::sync::Arc;

use idle_presence::Plugin;
use serde_json::{Value, json};
use tessera_sdk::{
    hooks::presence_routes::Route,
    params,
    storage::{self, Batch},
};
use tessera_test_host::{PluginUnderTest, TestHost};

const ALICE: &str = "@alice:hs1";
const BOB: &str = "@bob:hs1";
const ROOM: &str = "!room:hs1";
const MINUTE: u64 = 60_000;

const ROOMS: PluginUnderTest = PluginUnderTest {
    name: "rooms",
    manifest: "name = \"rooms\"\nversion = \"0.1.0\"\ndescription = \"fixture\"\n\
        [storage]\nexposes = [\"rooms_v1_events\", \"rooms_v1_memberships\"]\n",
    migrations: &[(
        "0001_init",
        "CREATE TABLE rooms_events (position bigint PRIMARY KEY, event_id text NOT NULL UNIQUE, room_id text NOT NULL);
         CREATE TABLE rooms_memberships (room_id text NOT NULL, user_id text NOT NULL, membership text NOT NULL,
           PRIMARY KEY (room_id, user_id));
         CREATE VIEW rooms_v1_events AS SELECT position, event_id, room_id FROM rooms_events;
         CREATE VIEW rooms_v1_memberships AS SELECT room_id, user_id, membership FROM rooms_memberships;",
    )],
};

fn host() -> TestHost {
    let host = TestHost::builder()
        .plugin_in(".")
        .plugin(ROOMS)
        .config(
            "presence",
            &json!({"enabled": true, "idle-after-ms": 5 * MINUTE, "offline-after-ms": 30 * MINUTE}),
        )
        .start();
    let member = |user: &str| params![ROOM, user, "join"];
    host.acting("rooms", || {
        Batch::new()
            .run(
                "INSERT INTO rooms_events (position, event_id, room_id) VALUES ($1, $2, $3)",
                params![1, "$1", ROOM],
            )
            .run_many(
                "INSERT INTO rooms_memberships (room_id, user_id, membership) VALUES ($1, $2, $3)",
                vec![member(ALICE), member(BOB)],
            )
            .commit()
    })
    .unwrap();
    let _ = host.wakes();
    host
}

fn say(host: &TestHost, presence: &str) {
    let request = host.request("PUT", "status").user(ALICE).device("D").param("userId", ALICE);
    request.json(&json!({"presence": presence})).send::<Plugin>().ok();
}

fn sees(host: &TestHost) -> Value {
    let request = host.request("GET", "status").user(BOB).device("D").param("userId", ALICE);
    request.send::<Plugin>().ok()["presence"].clone()
}

#[test]
fn who_does_nothing_becomes_unavailable_and_then_goes_offline() {
    let host = host();
    say(&host, "online");
    let _ = host.wakes();
    host.advance(5 * MINUTE - 1);
    assert_eq!(host.fire_timers::<Plugin>("presence"), 0);
    assert_eq!(sees(&host), "online");
    host.advance(1);
    assert_eq!(host.fire_timers::<Plugin>("presence"), 1);
    assert_eq!(sees(&host), "unavailable");
    let mut woken = host.wakes();
    woken.sort();
    woken.dedup();
    assert_eq!(woken, [format!("user:{ALICE}"), format!("user:{BOB}")]);
    host.advance(30 * MINUTE);
    assert_eq!(host.fire_timers::<Plugin>("presence"), 1);
    assert_eq!(sees(&host), "offline");
    assert_eq!(host.next_timer(), None, "there is nobody left to fall");
}

#[test]
fn who_types_or_reads_stays_online() {
    let host = host();
    say(&host, "online");
    host.advance(4 * MINUTE);
    let typing = host.request("PUT", "typing").user(ALICE).device("D");
    let typing = typing.param("roomId", ROOM).param("userId", ALICE);
    typing.json(&json!({"typing": true, "timeout": 1000})).send::<Plugin>().ok();
    host.advance(4 * MINUTE);
    host.fire_timers::<Plugin>("presence");
    assert_eq!(sees(&host), "online");
    let receipt = host.request("POST", "receipt").user(ALICE).device("D");
    let receipt = receipt.param("roomId", ROOM).param("receiptType", "m.read");
    receipt.param("eventId", "$1").json(&json!({})).send::<Plugin>().ok();
    host.advance(4 * MINUTE);
    host.fire_timers::<Plugin>("presence");
    assert_eq!(sees(&host), "online");
    host.advance(MINUTE);
    host.fire_timers::<Plugin>("presence");
    assert_eq!(sees(&host), "unavailable");
}

#[test]
fn who_says_that_they_are_offline_does_not_fall() {
    let host = host();
    say(&host, "online");
    say(&host, "offline");
    host.advance(60 * MINUTE);
    host.fire_timers::<Plugin>("presence");
    assert_eq!(sees(&host), "offline");
    assert_eq!(host.next_timer(), None);
}

#[test]
fn what_a_module_that_is_gone_said_is_forgotten() {
    for next in ["offline", "online"] {
        let host = host();
        host.services(|services| {
            services.hooks.presence_routes = Some(Arc::new(|_, states| {
                vec![Route { user: states[0].user.clone(), to: vec!["@carol:hs1".to_owned()] }]
            }));
            services.hooks.presence_interests =
                Some(Arc::new(|_, _| vec!["@carol:hs1".to_owned()]));
        });
        say(&host, "online");
        let rows = || storage::query("SELECT user_id FROM presence_routes", vec![]).unwrap().rows;
        assert_eq!(rows().len(), 2);
        host.services(|services| {
            services.hooks.presence_routes = None;
            services.hooks.presence_interests = None;
        });
        say(&host, next);
        assert!(rows().is_empty(), "{next}");
    }
}
