//! PUT /typing and its end.

use serde_json::{Value, json};
use tessera_plugin_presence::Plugin;
use tessera_test_host::TestAnswer;

use crate::server::*;

fn put(server: &Server, user: &str, body: &Value) -> TestAnswer {
    server.ask(user, "PUT", "typing", &[("roomId", ROOM), ("userId", user)], body)
}

/// Who types, as the view tells, and the newest position.
fn typing(server: &Server) -> (Vec<String>, i64) {
    let rows: Vec<(String, i64, i64)> =
        server.rows("SELECT user_id, until_ms, position FROM presence_v1_typing ORDER BY user_id");
    let newest = rows.iter().map(|row| row.2).max().unwrap_or(0);
    (rows.into_iter().filter(|row| row.1 > 0).map(|row| row.0).collect(), newest)
}

#[test]
fn typing_wakes_the_room_and_ends_by_itself() {
    let server = server();
    put(&server, ALICE, &json!({ "typing": true, "timeout": 5000 })).ok();
    assert!(server.host.calls() <= 2);
    assert_eq!(server.host.wakes(), [format!("room:{ROOM}")]);
    let (users, before) = typing(&server);
    assert_eq!(users, [ALICE]);
    server.host.advance(4999);
    assert_eq!(server.host.fire_timers::<Plugin>("presence"), 0);
    server.host.advance(1);
    assert_eq!(server.host.fire_timers::<Plugin>("presence"), 1);
    let (users, after) = typing(&server);
    assert!(users.is_empty());
    assert!(after > before, "told as news");
    assert_eq!(server.host.wakes(), [format!("room:{ROOM}")]);
    assert_eq!(server.host.next_timer(), None);
}

#[test]
fn each_typist_ends_in_their_own_time() {
    let server = server();
    let start = server.host.now_ms();
    put(&server, ALICE, &json!({ "typing": true, "timeout": 5000 })).ok();
    put(&server, BOB, &json!({ "typing": true, "timeout": 60000 })).ok();
    assert_eq!(server.host.next_timer(), Some(start + 5000), "the later one does not put it off");
    server.host.advance(5000);
    server.host.fire_timers::<Plugin>("presence");
    assert_eq!(typing(&server).0, [BOB]);
    assert_eq!(server.host.next_timer(), Some(start + 60_000));
    server.host.advance(55_000);
    server.host.fire_timers::<Plugin>("presence");
    assert!(typing(&server).0.is_empty());
}

#[test]
fn typing_on_is_no_news_but_lasts_longer() {
    let server = server();
    let start = server.host.now_ms();
    put(&server, ALICE, &json!({ "typing": true, "timeout": 5000 })).ok();
    let (_, before) = typing(&server);
    let _ = server.host.wakes();
    server.host.advance(4000);
    put(&server, ALICE, &json!({ "typing": true, "timeout": 5000 })).ok();
    assert_eq!(typing(&server), (vec![ALICE.to_owned()], before));
    assert!(server.host.wakes().is_empty());
    server.host.advance(1000);
    server.host.fire_timers::<Plugin>("presence");
    assert_eq!(typing(&server).0, [ALICE]);
    assert_eq!(server.host.next_timer(), Some(start + 9000));
}

#[test]
fn stopping_is_told_once() {
    let server = server();
    put(&server, ALICE, &json!({ "typing": false })).ok();
    assert!(server.host.wakes().is_empty(), "they did not type");
    put(&server, ALICE, &json!({ "typing": true })).ok();
    put(&server, ALICE, &json!({ "typing": false })).ok();
    assert!(typing(&server).0.is_empty());
    assert_eq!(server.host.wakes().len(), 2);
}

#[test]
fn nobody_types_longer_than_the_cap() {
    let server = server();
    let start = server.host.now_ms();
    put(&server, ALICE, &json!({ "typing": true, "timeout": u64::MAX })).ok();
    assert_eq!(server.host.next_timer(), Some(start + 120_000));
}

#[test]
fn only_members_type_and_only_for_themselves() {
    let server = server();
    assert_eq!(put(&server, CAROL, &json!({ "typing": true })).error().1, "M_FORBIDDEN");
    let params = [("roomId", ROOM), ("userId", BOB)];
    let answer = server.ask(ALICE, "PUT", "typing", &params, &json!({ "typing": true }));
    assert_eq!(answer.error().1, "M_FORBIDDEN");
    for body in
        [json!([]), json!({}), json!({ "typing": 1 }), json!({ "typing": true, "timeout": -1 })]
    {
        assert_eq!(put(&server, ALICE, &body).error().1, "M_BAD_JSON", "{body}");
    }
}

#[test]
fn typing_ends_in_rooms_with_long_ids() {
    let server = server();
    let long = format!("!{}:hs1", "r".repeat(250));
    server
        .host
        .acting("rooms", || {
            tessera_sdk::storage::Batch::new()
                .run(
                    "INSERT INTO rooms_memberships (room_id, user_id, membership) VALUES ($1, $2, 'join')",
                    tessera_sdk::params![&long, ALICE],
                )
                .commit()
        })
        .unwrap();
    let params = [("roomId", long.as_str()), ("userId", ALICE)];
    let body = json!({ "typing": true, "timeout": 5000 });
    server.ask(ALICE, "PUT", "typing", &params, &body).ok();
    server.host.advance(5000);
    server.host.fire_timers::<Plugin>("presence");
    assert!(typing(&server).0.is_empty());
}

#[test]
fn of_those_who_stopped_only_the_newest_is_kept() {
    let server = server();
    for user in [ALICE, BOB] {
        put(&server, user, &json!({ "typing": true })).ok();
        put(&server, user, &json!({ "typing": false })).ok();
    }
    let kept: Vec<(String, i64)> =
        server.rows("SELECT user_id, until_ms FROM presence_v1_typing ORDER BY user_id");
    assert_eq!(kept, [(BOB.to_owned(), 0)], "it tells that something changed");
    let before = typing(&server).1;
    put(&server, ALICE, &json!({ "typing": true, "timeout": 5000 })).ok();
    put(&server, BOB, &json!({ "typing": true, "timeout": 5000 })).ok();
    server.host.advance(5000);
    server.host.fire_timers::<Plugin>("presence");
    assert!(typing(&server).1 > before);
    put(&server, ALICE, &json!({ "typing": true })).ok();
    let kept: Vec<(String,)> = server.rows("SELECT user_id FROM presence_v1_typing");
    assert_eq!(kept, [(ALICE.to_owned(),)]);
}
