//! The dehydrated device (MSC3814).

use serde_json::{Value, json};
use tessera_test_host::TestAnswer;

use crate::server::*;

fn put(server: &Server, device: &str) -> TestAnswer {
    let mut keys = device_keys(ALICE, device);
    keys["dehydrated"] = json!(true);
    let body = json!({
        "device_id": device, "device_data": {"algorithm": "x", "device": device},
        "initial_device_display_name": "Dehydrated", "device_keys": keys,
        "one_time_keys": {"curve25519:a": "1"}, "fallback_keys": {"curve25519:f": "2"},
    });
    server.ask((ALICE, "A1"), ("PUT", "dehydrated-put"), &[], "", &body)
}

fn ask(server: &Server, method: &str) -> TestAnswer {
    server.ask((ALICE, "A1"), (method, "dehydrated"), &[], "", &Value::Null)
}

fn events(server: &Server, device: &str, body: &Value) -> TestAnswer {
    let place = [("deviceId", device)];
    server.ask((ALICE, "A1"), ("POST", "dehydrated-events"), &place, "", body)
}

fn send(server: &Server, device: &str, n: usize) {
    let params = [("eventType", "m.room_key"), ("txnId", &*format!("{device}{n}"))];
    let body = json!({"messages": {ALICE: {device: {"n": n}}}});
    server.ask((BOB, "B1"), ("PUT", "send-to-device"), &params, "", &body).ok();
}

#[test]
fn it_is_a_device_to_others() {
    let server = server();
    let since = server.token();
    assert_eq!(ask(&server, "GET").error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(put(&server, "D1").ok(), json!({"device_id": "D1"}));
    let expected = json!({"device_id": "D1", "device_data": {"algorithm": "x", "device": "D1"}});
    assert_eq!(ask(&server, "GET").ok(), expected);
    assert_eq!(server.changes(BOB, &since).0, [ALICE]);
    let keys = server.query(BOB, &[ALICE])["device_keys"][ALICE]["D1"].clone();
    assert_eq!(
        (&keys["dehydrated"], &keys["unsigned"]),
        (&json!(true), &json!({"device_display_name": "Dehydrated"}))
    );
    let body = json!({"one_time_keys": {ALICE: {"D1": "curve25519"}}});
    for name in ["curve25519:a", "curve25519:f"] {
        let answer = server.post((BOB, "B1"), "claim", &body).ok();
        assert!(answer["one_time_keys"][ALICE]["D1"].get(name).is_some(), "{answer}");
    }
}

#[test]
fn its_messages_come_page_by_page_and_stay() {
    let server = server();
    put(&server, "D1").ok();
    assert_eq!(events(&server, "D1", &json!({})).ok()["events"], json!([]));
    for n in 0..130 {
        send(&server, "D1", n);
    }
    for _ in 0..2 {
        let first = events(&server, "D1", &json!({})).ok();
        assert_eq!(first["events"].as_array().unwrap().len(), 100);
        let told = json!({"sender": BOB, "type": "m.room_key", "content": {"n": 0}});
        assert_eq!(first["events"][0], told);
        let second = events(&server, "D1", &json!({"next_batch": first["next_batch"]})).ok();
        assert_eq!(second["events"].as_array().unwrap().len(), 30);
        assert_eq!(second["events"][0]["content"]["n"], 100);
        let third = events(&server, "D1", &json!({"next_batch": second["next_batch"]})).ok();
        assert_eq!(third["events"], json!([]));
        assert!(third["next_batch"].is_string());
    }
    assert_eq!(events(&server, "A1", &json!({})).error(), (403, "M_FORBIDDEN".to_owned()));
    let wrong = json!({"next_batch": "x"});
    assert_eq!(events(&server, "D1", &wrong).error(), (400, "M_INVALID_PARAM".to_owned()));
}

#[test]
fn a_page_ends_at_the_horizon() {
    let server = server();
    put(&server, "D1").ok();
    send(&server, "D1", 1);
    server.host.hold_horizon(server.host.horizon());
    send(&server, "D1", 2);
    let first = events(&server, "D1", &json!({})).ok();
    assert_eq!(first["events"].as_array().unwrap().len(), 1);
    server.host.release_horizon();
    let second = events(&server, "D1", &json!({"next_batch": first["next_batch"]})).ok();
    assert_eq!(second["events"][0]["content"]["n"], 2);
}

#[test]
fn page_of_what_cannot_be_told_yet_is_not_empty() {
    let server = server();
    put(&server, "D1").ok();
    server.host.hold_horizon(server.host.horizon());
    send(&server, "D1", 1);
    assert_eq!(events(&server, "D1", &json!({})).error().0, 503);
    server.host.release_horizon();
    assert_eq!(events(&server, "D1", &json!({})).ok()["events"].as_array().unwrap().len(), 1);
}

#[test]
fn another_takes_its_place() {
    let server = server();
    put(&server, "D1").ok();
    send(&server, "D1", 1);
    put(&server, "D2").ok();
    assert_eq!(ask(&server, "GET").ok()["device_id"], "D2");
    let devices = server.query(BOB, &[ALICE])["device_keys"][ALICE].clone();
    assert_eq!(devices.as_object().unwrap().keys().collect::<Vec<_>>(), ["D2"]);
    assert_eq!(events(&server, "D1", &json!({})).error().1, "M_FORBIDDEN");
    send(&server, "D2", 1);
    put(&server, "D2").ok();
    assert_eq!(events(&server, "D2", &json!({})).ok()["events"], json!([]), "it is a new one");
    assert_eq!(ask(&server, "DELETE").ok(), json!({"device_id": "D2"}));
    assert_eq!(ask(&server, "DELETE").error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(server.query(BOB, &[ALICE])["device_keys"], json!({ALICE: {}}));
    assert_eq!(events(&server, "D2", &json!({})).error(), (404, "M_NOT_FOUND".to_owned()));
    let left: Vec<(i64,)> = server.rows(
        "SELECT (SELECT COUNT(*) FROM keys_to_device) + (SELECT COUNT(*) FROM keys_one_time) AS n",
    );
    assert_eq!(left, [(0,)]);
}

#[test]
fn it_outlives_a_log_out_of_all() {
    let server = server();
    put(&server, "D1").ok();
    send(&server, "D1", 1);
    server.tell(
        "accounts.sessions",
        &json!({"user_id": ALICE, "change": "logout", "device_id": null}),
    );
    server.deliver();
    assert_eq!(events(&server, "D1", &json!({})).ok()["events"].as_array().unwrap().len(), 1);
    assert_eq!(server.query(BOB, &[ALICE])["device_keys"][ALICE].as_object().unwrap().len(), 1);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let server = server();
    let keys = device_keys(ALICE, "D1");
    for (body, code) in [
        (json!({}), "M_BAD_JSON"),
        (json!({"device_id": "D1", "device_data": {}}), "M_MISSING_PARAM"),
        (json!({"device_id": "D1", "device_data": "x", "device_keys": keys}), "M_BAD_JSON"),
        (json!({"device_id": "D2", "device_data": {}, "device_keys": keys}), "M_INVALID_PARAM"),
        (json!({"device_id": "", "device_data": {}, "device_keys": keys}), "M_INVALID_PARAM"),
        (
            json!({"device_id": "A2", "device_data": {}, "device_keys": device_keys(ALICE, "A2")}),
            "M_INVALID_PARAM",
        ),
    ] {
        let answer = server.ask((ALICE, "A1"), ("PUT", "dehydrated-put"), &[], "", &body);
        assert_eq!(answer.error(), (400, code.to_owned()), "{body}");
    }
    assert_eq!(ask(&server, "GET").error().0, 404);
}

#[test]
fn it_is_not_named_like_a_cross_signing_key() {
    let server = server();
    let key = crate::signer::Signer::new(1);
    let body = json!({"master_key": key.key(ALICE, "master")});
    server.post((ALICE, "A1"), "device-signing", &body).ok();
    assert_eq!(put(&server, &key.public()).error(), (403, "M_FORBIDDEN".to_owned()));
    put(&server, "D1").ok();
}
