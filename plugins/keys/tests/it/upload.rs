//! POST /keys/upload.

use serde_json::{Value, json};
use tessera_plugin_keys::Plugin;

use crate::server::*;

fn upload(server: &Server, device: &str, body: &Value) -> tessera_test_host::TestAnswer {
    server.post((ALICE, device), "upload", body)
}

#[test]
fn keys_come_back_as_they_were_uploaded() {
    let server = server();
    let mut keys = device_keys(ALICE, "A1");
    keys["unsigned"] = json!({"forged": true});
    keys["dehydrated"] = json!(false);
    let answer = upload(&server, "A1", &json!({"device_keys": keys})).ok();
    assert_eq!(answer, json!({"one_time_key_counts": {"signed_curve25519": 0}}));
    let answer = server.query(BOB, &[ALICE, BOB, "@nobody:hs1"]);
    keys["unsigned"] = json!({});
    assert_eq!(answer["device_keys"], json!({ALICE: {"A1": keys}, BOB: {}, "@nobody:hs1": {}}));
    assert_eq!(answer["failures"], json!({}));
}

#[test]
fn only_some_devices_are_told_where_only_they_are_asked_for() {
    let server = server();
    for device in ["A1", "A2"] {
        upload(&server, device, &json!({"device_keys": device_keys(ALICE, device)})).ok();
    }
    let body = json!({"device_keys": {ALICE: ["A2", "A9"]}, "timeout": 10000});
    let answer = server.post((BOB, "B1"), "query", &body).ok();
    let devices: Vec<_> = answer["device_keys"][ALICE].as_object().unwrap().keys().collect();
    assert_eq!(devices, ["A2"]);
}

#[test]
fn other_servers_are_failures() {
    let server = server();
    let answer = server.query(BOB, &["@x:elsewhere", "nonsense"]);
    assert_eq!(answer["failures"]["elsewhere"]["status"], 503);
    assert_eq!(answer["device_keys"], json!({}));
    let body = json!({"one_time_keys": {"@x:elsewhere": {"D": "signed_curve25519"}}});
    let answer = server.post((BOB, "B1"), "claim", &body).ok();
    assert_eq!(answer["failures"]["elsewhere"]["status"], 503);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let server = server();
    let of_bob = json!({"device_keys": device_keys(BOB, "A1")});
    let of_another = json!({"device_keys": device_keys(ALICE, "A2")});
    let mut bare = device_keys(ALICE, "A1");
    bare.as_object_mut().unwrap().remove("keys");
    let mut float = device_keys(ALICE, "A1");
    float["n"] = json!(1.5);
    let mut large = device_keys(ALICE, "A1");
    large["x"] = json!("x".repeat(20_000));
    for (body, status, code) in [
        (of_bob, 400, "M_INVALID_PARAM"),
        (of_another, 400, "M_INVALID_PARAM"),
        (json!({"device_keys": bare}), 400, "M_BAD_JSON"),
        (json!({"device_keys": float}), 400, "M_BAD_JSON"),
        (json!({"device_keys": []}), 400, "M_BAD_JSON"),
        (json!({"device_keys": large}), 413, "M_TOO_LARGE"),
        (json!({"one_time_keys": {"noid": "x"}}), 400, "M_INVALID_PARAM"),
        (json!({"one_time_keys": {"a:b:c": "x"}}), 400, "M_INVALID_PARAM"),
        (json!({"one_time_keys": {"a:b": 5}}), 400, "M_BAD_JSON"),
        (json!({"one_time_keys": []}), 400, "M_BAD_JSON"),
        (json!({"fallback_keys": {"a:1": "x", "a:2": "y"}}), 400, "M_INVALID_PARAM"),
    ] {
        let error = upload(&server, "A1", &body).error();
        assert_eq!(error, (status, code.to_owned()), "{body}");
    }
    let elsewhere =
        server.ask((ALICE, "A1"), ("POST", "upload"), &[("deviceId", "A2")], "", &json!({}));
    assert_eq!(elsewhere.error().1, "M_INVALID_PARAM");
    let without = server.host.request("POST", "upload").user(ALICE).json(&json!({}));
    assert_eq!(without.send::<Plugin>().error(), (400, "M_UNKNOWN".to_owned()));
    let query = server.post((BOB, "B1"), "query", &json!({"device_keys": {ALICE: {"A1": 1}}}));
    assert_eq!(query.error(), (400, "M_BAD_JSON".to_owned()));
    assert_eq!(server.post((BOB, "B1"), "query", &json!({})).error().1, "M_BAD_JSON");
}

#[test]
fn a_key_is_told_of_once() {
    let server = server();
    let since = server.token();
    let body = json!({"device_keys": device_keys(ALICE, "A1")});
    upload(&server, "A1", &body).ok();
    let mut wakes = server.host.wakes();
    wakes.sort();
    assert_eq!(wakes, [format!("room:{ROOM}"), format!("user:{ALICE}")]);
    assert_eq!(server.changes(BOB, &since).0, [ALICE]);
    assert_eq!(server.changes(ALICE, &since).0, [ALICE]);
    assert!(server.changes(CAROL, &since).0.is_empty());
    let since = server.token();
    upload(&server, "A1", &body).ok();
    assert!(server.host.wakes().is_empty(), "the same keys are no change");
    assert!(server.changes(BOB, &since).0.is_empty());
}

#[test]
fn the_same_one_time_key_again_is_fine_and_another_is_not() {
    let server = server();
    let body = json!({"one_time_keys": {"signed_curve25519:a": {"key": "1", "x": 1}, "curve25519:a": "2"}});
    let counts = json!({"one_time_key_counts": {"signed_curve25519": 1, "curve25519": 1}});
    assert_eq!(upload(&server, "A1", &body).ok(), counts);
    assert_eq!(upload(&server, "A1", &body).ok(), counts);
    let other =
        json!({"one_time_keys": {"signed_curve25519:a": {"key": "3"}, "curve25519:b": "4"}});
    assert_eq!(upload(&server, "A1", &other).error(), (400, "M_UNKNOWN".to_owned()));
    assert_eq!(upload(&server, "A1", &body).ok(), counts, "all or nothing");
    let resigned =
        json!({"one_time_keys": {"signed_curve25519:a": {"key": "1", "x": 1, "signatures": {}}}});
    assert_eq!(upload(&server, "A1", &resigned).ok(), counts, "the same key, signed anew");
    // Another device has names of its own.
    upload(&server, "A2", &other).ok();
}

#[test]
fn an_upload_that_meets_the_same_upload_is_fine() {
    let server = server();
    let body = json!({"one_time_keys": {"curve25519:a": "1"}});
    let other = body.clone();
    server.host.before_next_commit(move |host| {
        let server = Server { host: host.clone() };
        upload(&server, "A1", &other).ok();
    });
    let counts = upload(&server, "A1", &body).ok();
    assert_eq!(counts["one_time_key_counts"]["curve25519"], 1);
}

#[test]
fn one_time_keys_have_a_cap() {
    let server = server();
    let keys = |from: usize, to: usize| {
        let keys: serde_json::Map<String, Value> =
            (from..to).map(|n| (format!("curve25519:{n}"), json!("x"))).collect();
        json!({"one_time_keys": keys})
    };
    upload(&server, "A1", &keys(0, 2000)).ok();
    assert_eq!(upload(&server, "A1", &keys(2000, 2001)).error().1, "M_TOO_LARGE");
    upload(&server, "A1", &keys(1990, 2000)).ok();
}

#[test]
fn keys_of_an_earlier_device_of_the_same_name_are_not_counted() {
    let server = server();
    let keys = |id: &str| json!({"one_time_keys": {format!("signed_curve25519:{id}"): "1"}});
    server.post((ALICE, "A1"), "upload", &keys("old")).ok();
    server.log_out(ALICE, "A1");
    server.device(ALICE, "A1");
    let counts = server.post((ALICE, "A1"), "upload", &json!({})).ok();
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], 0);
    let counts = server.post((ALICE, "A1"), "upload", &keys("new")).ok();
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], 1);
}

#[test]
fn users_whose_keys_do_not_fit_one_answer_of_the_database_are_told_all_the_same() {
    const USERS: u32 = 34;
    let server = server();
    server.many(USERS);
    let large = json!({"x": "x".repeat(1 << 20)}).to_string();
    let sql =
        "INSERT INTO keys_devices (user_id, device_id, json, position) VALUES ($1, 'D', $2, $3)";
    for n in 0..USERS {
        let row = tessera_sdk::params![format!("@{n}:hs1"), &large, i64::MAX];
        tessera_sdk::storage::Batch::new().run(sql, row).commit().unwrap();
    }
    let users: Vec<String> = (0..USERS).map(|n| format!("@{n}:hs1")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let told = server.query(BOB, &users);
    assert!(users.iter().all(|user| told["device_keys"][user]["D"].is_object()));
}

#[test]
fn devices_of_a_user_have_so_many_bytes_of_keys_together() {
    let server = server();
    server.post((ALICE, "A1"), "upload", &json!({"device_keys": device_keys(ALICE, "A1")})).ok();
    let sql = "UPDATE keys_devices SET json = $1";
    let row = tessera_sdk::params!["x".repeat(2 << 20)];
    tessera_sdk::storage::Batch::new().run(sql, row).commit().unwrap();
    let body = json!({"device_keys": device_keys(ALICE, "A2")});
    let error = server.post((ALICE, "A2"), "upload", &body).error();
    assert_eq!(error, (413, "M_TOO_LARGE".to_owned()));
}
