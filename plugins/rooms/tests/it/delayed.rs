//! Events that are sent later.

use serde_json::{Value, json};
use tessera_plugin_rooms::Plugin;
use tessera_sdk::params;
use tessera_test_host::TestAnswer;

use crate::harness::{ALICE, BOB, Server, configured, server};

const MINUTE: u64 = 60_000;

fn delay(server: &Server, user: &str, room: &str, txn: &str, ms: &str) -> TestAnswer {
    let request = server.host.request("PUT", "send").user(user).device("DEV").param("roomId", room);
    let request = request.param("eventType", "m.room.message").param("txnId", txn);
    let content = json!({"msgtype": "m.text", "body": "later"});
    request.query("org.matrix.msc4140.delay", ms).json(&content).send::<Plugin>()
}

fn delay_state(server: &Server, user: &str, room: &str, kind: &str, key: &str) -> String {
    let request = server.host.request("PUT", "put-state").user(user).param("roomId", room);
    let request = request.param("eventType", kind).param("stateKey", key);
    let request = request.query("org.matrix.msc4140.delay", "60000").json(&json!({"gone": true}));
    id(&request.send::<Plugin>())
}

fn id(answer: &TestAnswer) -> String {
    answer.ok()["delay_id"].as_str().unwrap().to_owned()
}

fn update(server: &Server, delay_id: &str, action: &str) -> TestAnswer {
    let request = server.host.request("POST", "update-delayed-event").param("delayId", delay_id);
    request.json(&json!({"action": action})).send::<Plugin>()
}

fn waiting(server: &Server, user: &str) -> Vec<Value> {
    let list = server.get(user, "delayed-events", &[]).ok();
    list["delayed_events"].as_array().unwrap().clone()
}

fn later(server: &Server, room: &str) -> usize {
    server.events(room).iter().filter(|event| event["content"]["body"] == "later").count()
}

fn fire(server: &Server) {
    server.host.fire_timers::<Plugin>("rooms");
}

#[test]
fn event_is_sent_when_its_time_has_come() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let start = server.host.now_ms();
    let first = id(&delay(&server, ALICE, &room, "t1", "60000"));
    assert_eq!(id(&delay(&server, ALICE, &room, "t1", "60000")), first, "the same request");
    let list = waiting(&server, ALICE);
    let expected = json!({"delay_id": first, "room_id": room, "type": "m.room.message", "delay": MINUTE,
        "running_since": start, "content": {"msgtype": "m.text", "body": "later"}});
    assert_eq!(list, [expected]);
    assert!(waiting(&server, BOB).is_empty());
    server.host.advance(MINUTE - 1);
    fire(&server);
    assert_eq!(later(&server, &room), 0);
    server.host.advance(1);
    fire(&server);
    assert_eq!(later(&server, &room), 1);
    assert!(waiting(&server, ALICE).is_empty());
    assert_eq!(id(&delay(&server, ALICE, &room, "t1", "60000")), first, "even now");
    assert_eq!(update(&server, &first, "cancel").error(), (404, "M_NOT_FOUND".to_owned()));
    let sent = server.rows::<(String,)>(
        "SELECT txn_id FROM rooms_v1_transactions WHERE device_id = 'DEV' AND event_id IN
           (SELECT event_id FROM rooms_events WHERE room_id = $1)",
        params![&room],
    );
    assert!(sent.is_empty(), "no device takes it for a transaction of its own");
}

#[test]
fn delays_are_cancelled_restarted_and_cut_short() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let [cancelled, restarted, sent] =
        ["a", "b", "c"].map(|txn| id(&delay(&server, ALICE, &room, txn, "60000")));
    let _ = update(&server, &cancelled, "cancel").ok();
    server.host.advance(MINUTE - 1);
    let _ = update(&server, &restarted, "restart").ok();
    let request = server.host.request("POST", "update-delayed-event").param("delayId", &sent);
    let _ = request.param("action", "send").send::<Plugin>().ok();
    assert_eq!(later(&server, &room), 1);
    server.host.advance(MINUTE - 1);
    fire(&server);
    assert_eq!(later(&server, &room), 1);
    assert_eq!(waiting(&server, ALICE).len(), 1);
    server.host.advance(1);
    fire(&server);
    assert_eq!(later(&server, &room), 2);
    assert_eq!(update(&server, "none", "send").error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(update(&server, &sent, "eat").error(), (400, "M_INVALID_PARAM".to_owned()));
    let none = server.host.request("POST", "update-delayed-event").param("delayId", &sent);
    assert_eq!(none.json(&json!({})).send::<Plugin>().error(), (400, "M_MISSING_PARAM".to_owned()));
}

#[test]
fn state_that_another_sends_cancels_a_delayed_one() {
    let server = server();
    let levels = json!({"state_default": 0});
    let body = json!({"preset": "public_chat", "power_level_content_override": levels});
    let room = server.create(ALICE, &body);
    let _ = server.join(BOB, &room).ok();
    delay_state(&server, ALICE, &room, "x.call", "1");
    delay_state(&server, BOB, &room, "x.call", "1");
    delay_state(&server, ALICE, &room, "x.call", "2");
    let _ = server.put_state(ALICE, &room, "x.call", "1", &json!({"here": true})).ok();
    assert!(waiting(&server, BOB).is_empty());
    assert_eq!(waiting(&server, ALICE).len(), 2, "one's own stay");
    server.host.advance(MINUTE);
    fire(&server);
    let state = server.get(
        BOB,
        "get-state-event",
        &[("roomId", &room), ("eventType", "x.call"), ("stateKey", "1")],
    );
    assert_eq!(state.ok(), json!({"gone": true}));
    assert!(waiting(&server, ALICE).is_empty());
}

#[test]
fn what_may_not_be_sent_by_then_is_not() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let _ = server.join(BOB, &room).ok();
    let timed = id(&delay(&server, BOB, &room, "a", "60000"));
    let forced = id(&delay(&server, BOB, &room, "b", "90000"));
    let _ = server.leave(BOB, &room).ok();
    server.host.advance(MINUTE);
    fire(&server);
    assert_eq!(later(&server, &room), 0);
    assert_eq!(update(&server, &timed, "send").error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(update(&server, &forced, "send").error(), (403, "M_FORBIDDEN".to_owned()));
    assert!(waiting(&server, BOB).is_empty());
}

#[test]
fn crash_between_sending_and_forgetting_sends_nothing_twice() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let delay_id = id(&delay(&server, ALICE, &room, "a", "60000"));
    let _ = update(&server, &delay_id, "send").ok();
    // As a crash before the row was deleted leaves it.
    tessera_sdk::storage::Batch::new()
        .run(
            "INSERT INTO rooms_delayed (delay_id, user_id, device_id, room_id, type, content, delay_ms, started_ms,
               revision, txn)
             VALUES ($1, $2, 'DEV', $3, 'm.room.message', $4, 60000, 0, -1, $1)",
            params![&delay_id, ALICE, &room, json!({"msgtype": "m.text", "body": "later"}).to_string()],
        )
        .commit()
        .unwrap();
    tessera_sdk::timers::set(&format!("delayed:{delay_id}"), server.host.now_ms(), "").unwrap();
    fire(&server);
    assert_eq!(later(&server, &room), 1);
    assert!(server.rows::<(String,)>("SELECT delay_id FROM rooms_delayed", vec![]).is_empty());
}

#[test]
fn delays_have_bounds() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    for bad in ["0", "-1", "x"] {
        let answer = delay(&server, ALICE, &room, "t", bad);
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()));
    }
    let answer = delay(&server, ALICE, &room, "t", "86400001");
    assert_eq!(answer.error(), (400, "M_UNKNOWN".to_owned()));
    assert_eq!(answer.json()["org.matrix.msc4140.errcode"], "M_MAX_DELAY_EXCEEDED");
    assert_eq!(answer.json()["org.matrix.msc4140.max_delay"], 86_400_000);
    for n in 0..100 {
        let _ = delay(&server, ALICE, &room, &n.to_string(), "1000").ok();
    }
    let answer = delay(&server, ALICE, &room, "t", "1000");
    assert_eq!(answer.error(), (400, "M_UNKNOWN".to_owned()));
    assert_eq!(answer.json()["org.matrix.msc4140.errcode"], "M_MAX_DELAYED_EVENTS_EXCEEDED");
}

#[test]
fn delay_that_is_over_before_it_is_stored_is_kept_all_the_same() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    server.host.before_next_commit(|host| {
        host.install();
        host.act_as("rooms");
        host.advance(5);
        // The timer is due, and finds nothing.
        host.fire_timers::<Plugin>("rooms");
    });
    let _ = id(&delay(&server, ALICE, &room, "t1", "1"));
    fire(&server);
    assert_eq!(later(&server, &room), 1);
    assert!(waiting(&server, ALICE).is_empty());
}

#[test]
fn shadow_banned_users_and_guests_leave_nothing_to_be_sent() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let marked = |mark: &str| {
        let request = server.host.request("PUT", "send").user(ALICE).mark(mark);
        let request = request.param("roomId", &room).param("eventType", "m.room.message");
        let request = request.param("txnId", mark).query("org.matrix.msc4140.delay", "1");
        request.json(&json!({"msgtype": "m.text", "body": "later"})).send::<Plugin>()
    };
    assert_eq!(marked("guest").error(), (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned()));
    assert!(!id(&marked("shadow-banned")).is_empty(), "they are not told");
    server.host.advance(MINUTE);
    fire(&server);
    assert_eq!(later(&server, &room), 0);
}

#[test]
fn what_users_left_before_they_were_held_back_is_not_sent() {
    let server = server();
    let body = json!({"preset": "public_chat"});
    let room = server.create(ALICE, &body);
    let users = ["@locked:hs1", "@suspended:hs1", "@gone:hs1", "@shadow:hs1"];
    for user in users {
        let _ = server.join(user, &room).ok();
        let _ = id(&delay(&server, user, &room, "t", "60000"));
    }
    server.host.acting("accounts", || {
        for (n, user) in users.iter().enumerate() {
            tessera_sdk::storage::Batch::new()
                .run(
                    "INSERT INTO accounts_held (user_id, locked, suspended, deactivated) VALUES ($1, $2, $3, $4)",
                    params![*user, n == 0, n == 1, n == 2],
                )
                .commit()
                .unwrap();
        }
    });
    server.host.advance(MINUTE);
    fire(&server);
    assert_eq!(later(&server, &room), 0);
    assert!(users.iter().all(|user| waiting(&server, user).is_empty()));
}

#[test]
fn state_that_comes_from_another_server_cancels_a_delayed_one() {
    let server = server();
    let mut peer = crate::peer::Peer::new("11");
    peer.join();
    let _ = server.join(ALICE, peer.room()).ok();
    let base = peer.last();
    let _ = delay_state(&server, ALICE, peer.room(), "m.room.topic", "");
    let other = delay_state(&server, ALICE, peer.room(), "m.room.name", "");
    let topic = peer.topic(&[&base], crate::peer::ZOE, "theirs");
    assert_eq!(peer.give(&[&topic]), [tessera_plugin_rooms::receive::Outcome::Accepted]);
    let left = waiting(&server, ALICE);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["delay_id"], other);
}

#[test]
fn two_at_once_do_not_pass_the_cap() {
    let server = configured(&json!({"max-delayed-events": 1}));
    let room = server.create(ALICE, &json!({}));
    let elsewhere = room.clone();
    server.host.before_next_commit(move |host| {
        host.install();
        host.act_as("rooms");
        let request = host.request("PUT", "send").user(ALICE).device("OTHER");
        let request = request.param("roomId", &elsewhere).param("txnId", "other");
        let request = request.param("eventType", "m.room.message");
        let request = request.query("org.matrix.msc4140.delay", "60000");
        let _ = request.json(&json!({"body": "quicker"})).send::<Plugin>().ok();
    });
    let answer = delay(&server, ALICE, &room, "t", "60000");
    assert_eq!(answer.error(), (400, "M_UNKNOWN".to_owned()));
    assert_eq!(waiting(&server, ALICE).len(), 1);
}
