//! PUT /sendToDevice.

use serde_json::{Value, json};
use tessera_test_host::{TestAnswer, TestHost};

use crate::server::*;

fn send(server: &Server, txn: &str, messages: &Value) -> TestAnswer {
    let params = [("eventType", "m.test"), ("txnId", txn)];
    let body = json!({ "messages": messages });
    server.ask((ALICE, "A1"), ("PUT", "send-to-device"), &params, "", &body)
}

/// What waits: user, device, content; in order.
fn waiting(server: &Server) -> Vec<(String, String, Value)> {
    let rows: Vec<(String, String, String, String, String)> = server.rows(
        "SELECT user_id, device_id, sender, type, content FROM keys_v1_to_device ORDER BY position",
    );
    rows.into_iter()
        .map(|(user, device, sender, kind, content)| {
            assert_eq!((sender.as_str(), kind.as_str()), (ALICE, "m.test"));
            (user, device, serde_json::from_str(&content).unwrap())
        })
        .collect()
}

fn row(user: &str, device: &str, n: u32) -> (String, String, Value) {
    (user.to_owned(), device.to_owned(), json!({ "n": n }))
}

#[test]
fn messages_wait_in_order_for_devices_that_are_there() {
    let server = server();
    let messages = json!({BOB: {"B1": {"n": 1}, "B9": {"n": 2}}, "@nobody:hs1": {"D": {}}, "@x:elsewhere": {"D": {}}});
    send(&server, "1", &messages).ok();
    assert_eq!(server.host.wakes(), [format!("user:{BOB}")]);
    send(&server, "2", &json!({ALICE: {"*": {"n": 3}, "A2": {"n": 4}}})).ok();
    send(&server, "3", &json!({BOB: {"B1": {"n": 5}}})).ok();
    let expected = [row(BOB, "B1", 1), row(ALICE, "A1", 3), row(ALICE, "A2", 4), row(BOB, "B1", 5)];
    assert_eq!(waiting(&server), expected);
}

#[test]
fn a_transaction_is_done_once() {
    let server = server();
    send(&server, "1", &json!({BOB: {"B1": {"n": 1}}})).ok();
    let _ = server.host.wakes();
    send(&server, "1", &json!({BOB: {"B1": {"n": 2}}})).ok();
    assert!(server.host.wakes().is_empty());
    let other = [("eventType", "m.test"), ("txnId", "1")];
    let body = json!({"messages": {BOB: {"B1": {"n": 3}}}});
    server.ask((ALICE, "A2"), ("PUT", "send-to-device"), &other, "", &body).ok();
    assert_eq!(waiting(&server), [row(BOB, "B1", 1), row(BOB, "B1", 3)]);
}

#[test]
fn a_transaction_that_comes_twice_at_once_is_done_once() {
    let server = server();
    server.host.before_next_commit(|host: &TestHost| {
        send(&Server { host: host.clone() }, "1", &json!({BOB: {"B1": {"n": 1}}})).ok();
    });
    send(&server, "1", &json!({BOB: {"B1": {"n": 1}}})).ok();
    assert_eq!(waiting(&server), [row(BOB, "B1", 1)]);
}

#[test]
fn transactions_are_forgotten_after_two_days() {
    let server = server();
    send(&server, "1", &json!({})).ok();
    server.host.advance(48 * 60 * 60 * 1000 + 1);
    // One request in 16 cleans up.
    for n in 0..100 {
        send(&server, &format!("x{n}"), &json!({})).ok();
    }
    let left: Vec<(i64,)> =
        server.rows("SELECT COUNT(*) FROM keys_transactions WHERE txn_id = '1'");
    assert_eq!(left, [(0,)]);
}

#[test]
fn the_oldest_go_when_a_queue_is_full() {
    let server = server_with(&json!({"to-device-queue": 10}));
    for n in 0..100 {
        send(&server, &n.to_string(), &json!({BOB: {"B1": {"n": n}}, ALICE: {"A2": {"n": n}}}))
            .ok();
    }
    for n in 100..200 {
        send(&server, &n.to_string(), &json!({BOB: {"B1": {"n": n}}})).ok();
    }
    let of = |user: &str| waiting(&server).into_iter().filter(|row| row.0 == user).count();
    assert!((10..80).contains(&of(BOB)), "{}", of(BOB));
    assert!(of(ALICE) >= 10);
    assert_eq!(waiting(&server).last().unwrap(), &row(BOB, "B1", 199));
    assert!(server.host.logs().iter().any(|line| line.contains("dropped")));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let server = server();
    let ask = |body: &Value| {
        let params = [("eventType", "m.test"), ("txnId", "1")];
        server.ask((ALICE, "A1"), ("PUT", "send-to-device"), &params, "", body).error()
    };
    assert_eq!(ask(&json!({})), (400, "M_MISSING_PARAM".to_owned()));
    for messages in [json!([]), json!({BOB: []}), json!({BOB: {"B1": 5}}), json!({BOB: {"*": "x"}})]
    {
        assert_eq!(ask(&json!({ "messages": messages })), (400, "M_BAD_JSON".to_owned()));
    }
    let large = json!({"messages": {BOB: {"B1": {"x": "x".repeat(70_000)}}}});
    assert_eq!(ask(&large), (413, "M_TOO_LARGE".to_owned()));
    let long = [("eventType", "m.test"), ("txnId", &*"x".repeat(300))];
    let body = json!({"messages": {}});
    let answer = server.ask((ALICE, "A1"), ("PUT", "send-to-device"), &long, "", &body);
    assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()));
    assert!(waiting(&server).is_empty());
}

#[test]
fn messages_go_to_very_many_users_at_once() {
    const USERS: u32 = 2500;
    let server = server();
    server.many(USERS);
    let messages: serde_json::Map<String, Value> =
        (0..USERS).map(|n| (format!("@{n}:hs1"), json!({"*": {"n": n}}))).collect();
    send(&server, "1", &Value::Object(messages)).ok();
    assert_eq!(waiting(&server).len(), USERS as usize);
    let woken: std::collections::BTreeSet<String> = server.host.wakes().into_iter().collect();
    assert_eq!(woken.len(), USERS as usize);
}
