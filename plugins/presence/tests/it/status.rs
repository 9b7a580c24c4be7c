//! GET and PUT /presence/{userId}/status.

use serde_json::{Value, json};
use tessera_test_host::TestAnswer;

use crate::server::*;

fn put(server: &Server, user: &str, body: &Value) -> TestAnswer {
    server.ask(user, "PUT", "status", &[("userId", user)], body)
}

fn get(server: &Server, user: &str, whose: &str) -> TestAnswer {
    server.ask(user, "GET", "status", &[("userId", whose)], &json!({}))
}

#[test]
fn status_is_told_to_who_shares_a_room() {
    let server = server();
    assert_eq!(get(&server, BOB, ALICE).ok(), json!({ "presence": "offline" }));
    put(&server, ALICE, &json!({ "presence": "online", "status_msg": "here" })).ok();
    let mut wakes = server.host.wakes();
    wakes.sort();
    assert_eq!(wakes, [format!("user:{ALICE}"), format!("user:{BOB}")]);
    server.host.advance(1000);
    let expected = json!({
        "presence": "online", "status_msg": "here", "currently_active": true, "last_active_ago": 1000,
    });
    assert_eq!(get(&server, BOB, ALICE).ok(), expected);
    assert_eq!(get(&server, ALICE, ALICE).ok(), expected);
    assert_eq!(get(&server, CAROL, ALICE).error().1, "M_FORBIDDEN");
}

#[test]
fn the_same_status_again_is_no_news() {
    let server = server();
    put(&server, ALICE, &json!({ "presence": "online" })).ok();
    let _ = server.host.wakes();
    server.host.advance(1000);
    put(&server, ALICE, &json!({ "presence": "online" })).ok();
    assert!(server.host.wakes().is_empty());
    assert_eq!(get(&server, BOB, ALICE).ok()["last_active_ago"], 0);
    put(&server, ALICE, &json!({ "presence": "unavailable" })).ok();
    assert!(!server.host.wakes().is_empty());
}

#[test]
fn bad_statuses_are_refused() {
    let server = server();
    for (body, code) in [
        (json!({ "presence": "asleep" }), "M_INVALID_PARAM"),
        (json!({ "presence": 5 }), "M_BAD_JSON"),
        (json!({}), "M_BAD_JSON"),
        (json!({ "presence": "online", "status_msg": "x".repeat(5000) }), "M_INVALID_PARAM"),
    ] {
        assert_eq!(put(&server, ALICE, &body).error().1, code, "{body}");
    }
    let answer =
        server.ask(ALICE, "PUT", "status", &[("userId", BOB)], &json!({ "presence": "online" }));
    assert_eq!(answer.error().1, "M_FORBIDDEN");
}

#[test]
fn switched_off_nothing_is_kept() {
    let server = server_with(&json!({ "enabled": false }));
    put(&server, ALICE, &json!({ "presence": "online" })).ok();
    assert!(server.host.wakes().is_empty());
    assert_eq!(get(&server, BOB, ALICE).ok(), json!({ "presence": "offline" }));
}

const MINUTE: u64 = 60_000;

fn presence(server: &Server) -> String {
    get(server, BOB, ALICE).ok()["presence"].as_str().unwrap().to_owned()
}

fn fire(server: &Server) {
    server.host.fire_timers::<tessera_plugin_presence::Plugin>("presence");
}

#[test]
fn who_does_nothing_falls_idle_and_then_offline() {
    let server = server();
    put(&server, ALICE, &json!({ "presence": "online", "status_msg": "here" })).ok();
    server.host.advance(5 * MINUTE - 1);
    fire(&server);
    assert_eq!(presence(&server), "online");
    let _ = server.host.wakes();
    server.host.advance(1);
    fire(&server);
    let told = get(&server, BOB, ALICE).ok();
    assert_eq!(
        (&told["presence"], &told["currently_active"]),
        (&json!("unavailable"), &json!(false))
    );
    assert_eq!(
        (&told["status_msg"], &told["last_active_ago"]),
        (&json!("here"), &json!(5 * MINUTE))
    );
    let woken = server.host.wakes();
    assert!(woken.contains(&format!("user:{BOB}")) && woken.contains(&format!("user:{ALICE}")));
    server.host.advance(30 * MINUTE);
    fire(&server);
    assert_eq!(presence(&server), "offline");
    server.host.advance(24 * 60 * MINUTE);
    fire(&server);
    assert_eq!(server.host.next_timer(), None, "nothing is left to do");
}

#[test]
fn who_types_reads_or_syncs_stays_online() {
    let server = server();
    put(&server, ALICE, &json!({ "presence": "online" })).ok();
    for step in 0..6 {
        server.host.advance(4 * MINUTE);
        let event = format!("${}", step / 2 + 1);
        let room = [("roomId", ROOM)];
        match step % 3 {
            0 => server.ask(
                ALICE,
                "PUT",
                "typing",
                &[room[0], ("userId", ALICE)],
                &json!({ "typing": true }),
            ),
            1 => server.ask(
                ALICE,
                "POST",
                "receipt",
                &[room[0], ("receiptType", "m.read"), ("eventId", &event)],
                &json!({}),
            ),
            _ => put(&server, ALICE, &json!({ "presence": "online" })),
        }
        .ok();
        fire(&server);
        assert_eq!(presence(&server), "online", "step {step}");
    }
    // Who said to be away is not made present by reading.
    put(&server, ALICE, &json!({ "presence": "unavailable" })).ok();
    server
        .ask(
            ALICE,
            "PUT",
            "typing",
            &[("roomId", ROOM), ("userId", ALICE)],
            &json!({ "typing": false }),
        )
        .ok();
    assert_eq!(presence(&server), "unavailable");
    server.host.advance(30 * MINUTE);
    fire(&server);
    assert_eq!(presence(&server), "offline");
}

#[test]
fn members_from_elsewhere_take_no_place_among_those_woken() {
    let server = server();
    let rows = (0..5000).map(|n| tessera_sdk::params![ROOM, format!("@{n:04}:hs2"), "join"]);
    let batch = tessera_sdk::storage::Batch::new().run_many(
        "INSERT INTO rooms_memberships (room_id, user_id, membership) VALUES ($1, $2, $3)",
        rows.collect(),
    );
    server.host.acting("rooms", || batch.commit()).unwrap();
    let _ = server.host.wakes();
    put(&server, ALICE, &json!({ "presence": "online" })).ok();
    let mut wakes = server.host.wakes();
    wakes.sort();
    assert_eq!(wakes, [format!("user:{ALICE}"), format!("user:{BOB}")]);
}
