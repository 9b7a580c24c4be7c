//! POST /keys/claim.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tessera_plugin_keys::Plugin;
use tessera_test_host::TestHost;

use crate::server::*;

fn upload(server: &Server, body: &Value) {
    server.post((ALICE, "A1"), "upload", body).ok();
}

fn claim(host: &TestHost) -> Option<String> {
    let body = json!({"one_time_keys": {ALICE: {"A1": "curve25519"}}, "timeout": 1});
    let request = host.request("POST", "claim").user(BOB).device("B1").json(&body);
    let answer = request.send::<Plugin>().ok();
    assert_eq!(answer["failures"], json!({}));
    let keys = answer["one_time_keys"].get(ALICE)?.get("A1")?.as_object().unwrap();
    assert_eq!(keys.len(), 1);
    keys.keys().next().cloned()
}

#[test]
fn keys_go_once_each_in_the_order_of_their_upload() {
    let server = server();
    upload(&server, &json!({"one_time_keys": {"curve25519:z": "1"}}));
    upload(
        &server,
        &json!({"one_time_keys": {"curve25519:a": {"key": "2"}, "signed_curve25519:a": {"key": "4"}}}),
    );
    upload(&server, &json!({"one_time_keys": {"curve25519:m": "3"}}));
    let order: Vec<_> = (0..4).map(|_| claim(&server.host)).collect();
    let name = |id: &str| Some(format!("curve25519:{id}"));
    assert_eq!(order, [name("z"), name("a"), name("m"), None]);
    let counts: Vec<(String, i64)> =
        server.rows("SELECT algorithm, count FROM keys_v1_one_time_counts");
    assert_eq!(counts, [("signed_curve25519".to_owned(), 1)]);
}

#[test]
fn a_key_that_was_claimed_is_not_given_out_again_when_its_upload_is_repeated() {
    let server = server();
    let body = json!({"one_time_keys": {"curve25519:a": {"key": "1", "signatures": {ALICE: {"ed25519:A1": "s"}}}}});
    upload(&server, &body);
    assert_eq!(claim(&server.host).unwrap(), "curve25519:a");
    upload(&server, &body);
    // Signed anew it is the same key.
    upload(&server, &json!({"one_time_keys": {"curve25519:a": {"key": "1"}}}));
    assert_eq!(claim(&server.host), None);
    // Another key under its id is another key.
    let other = json!({"one_time_keys": {"curve25519:a": {"key": "2"}}});
    upload(&server, &other);
    assert_eq!(claim(&server.host).unwrap(), "curve25519:a");
    upload(&server, &other);
    assert_eq!(claim(&server.host), None);
    // What is remembered ends some time, and with the device.
    let remembered = || -> Vec<(String,)> { server.rows("SELECT key_id FROM keys_uploaded") };
    server.host.advance(7 * 24 * 60 * 60 * 1000 + 1);
    upload(&server, &json!({"one_time_keys": {"curve25519:b": "3"}}));
    assert_eq!(remembered(), [("b".to_owned(),)]);
    claim(&server.host).unwrap();
    server.log_out(ALICE, "A1");
    server.deliver();
    assert!(remembered().is_empty());
}

#[test]
fn an_upload_that_meets_its_own_repetition_and_a_claim_puts_nothing_back() {
    let server = server();
    let body = json!({"one_time_keys": {"curve25519:a": "1"}});
    let again = body.clone();
    server.host.before_next_commit(move |host| {
        let server = Server { host: host.clone() };
        upload(&server, &again);
        assert_eq!(claim(host).unwrap(), "curve25519:a");
    });
    upload(&server, &body);
    assert_eq!(claim(&server.host), None);
}

#[test]
fn several_are_claimed_at_once_and_those_that_are_not_there_are_missing() {
    let server = server();
    upload(&server, &json!({"one_time_keys": {"curve25519:a": {"key": "1"}}}));
    server.post((BOB, "B1"), "upload", &json!({"one_time_keys": {"curve25519:b": "2"}})).ok();
    let body = json!({"one_time_keys": {
        ALICE: {"A1": "curve25519", "A2": "curve25519", "A9": "curve25519"},
        BOB: {"B1": "curve25519"}, CAROL: {"C1": "curve25519"}, "@nobody:hs1": {"D": "curve25519"},
    }});
    let answer = server.post((CAROL, "C1"), "claim", &body).ok();
    let expected = json!({
        ALICE: {"A1": {"curve25519:a": {"key": "1"}}}, BOB: {"B1": {"curve25519:b": "2"}},
    });
    assert_eq!(answer["one_time_keys"], expected);
    for body in [json!({}), json!({"one_time_keys": {ALICE: ["A1"]}})] {
        assert_eq!(server.post((CAROL, "C1"), "claim", &body).error().1, "M_BAD_JSON");
    }
}

#[test]
fn the_fallback_key_is_used_when_there_is_no_other() {
    let server = server();
    let unused =
        || -> Vec<(String,)> { server.rows("SELECT algorithm FROM keys_v1_unused_fallback") };
    let body = json!({
        "one_time_keys": {"curve25519:one": "1"}, "fallback_keys": {"curve25519:fall": {"key": "2", "fallback": true}},
    });
    upload(&server, &body);
    let _ = server.host.wakes();
    assert_eq!(claim(&server.host).unwrap(), "curve25519:one");
    assert_eq!(unused().len(), 1);
    for woken in [vec![format!("user:{ALICE}")], vec![]] {
        let _ = server.host.wakes();
        assert_eq!(claim(&server.host).unwrap(), "curve25519:fall");
        assert!(unused().is_empty());
        assert_eq!(server.host.wakes(), woken, "its first use is news");
    }
    // The same one again is used all the same, another is not.
    upload(&server, &json!({"fallback_keys": {"curve25519:fall": {"key": "2", "fallback": true}}}));
    assert!(unused().is_empty());
    upload(&server, &json!({"org.matrix.msc2732.fallback_keys": {"curve25519:new": "3"}}));
    assert_eq!(unused().len(), 1);
    assert_eq!(claim(&server.host).unwrap(), "curve25519:new");
}

#[test]
fn two_who_claim_at_once_never_get_the_same() {
    const CLAIMERS: usize = 6;
    const EACH: usize = 20;
    let server = server();
    let keys: serde_json::Map<String, Value> =
        (0..CLAIMERS * EACH).map(|n| (format!("curve25519:{n}"), json!("x"))).collect();
    upload(&server, &json!({"one_time_keys": keys, "fallback_keys": {"curve25519:fall": "y"}}));
    let threads: Vec<_> = (0..CLAIMERS)
        .map(|_| {
            let host = server.host.clone();
            std::thread::spawn(move || {
                on_this_thread(&host);
                (0..EACH).map(|_| claim(&host).unwrap()).collect::<Vec<_>>()
            })
        })
        .collect();
    let all: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert!(!all.contains(&"curve25519:fall".to_owned()), "there was a key for everybody");
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), CLAIMERS * EACH);
    assert_eq!(claim(&server.host).unwrap(), "curve25519:fall");
}

#[test]
fn a_claimer_between_takes_its_own() {
    let server = server();
    upload(&server, &json!({"one_time_keys": {"curve25519:1": "1"}}));
    upload(&server, &json!({"one_time_keys": {"curve25519:2": "2"}}));
    let (told, first) = std::sync::mpsc::channel();
    server.host.before_next_commit(move |host| told.send(claim(host)).unwrap());
    assert_eq!(claim(&server.host).unwrap(), "curve25519:2");
    assert_eq!(first.recv().unwrap().unwrap(), "curve25519:1");
}

#[test]
fn keys_of_a_device_that_was_there_before_are_not_given_out() {
    let server = server();
    let body = json!({
        "device_keys": device_keys(ALICE, "A1"), "one_time_keys": {"curve25519:old": "1"},
        "fallback_keys": {"curve25519:old": "2"},
    });
    upload(&server, &body);
    // The consumer has not heard of it yet.
    server.log_out(ALICE, "A1");
    assert_eq!(claim(&server.host), None);
    assert_eq!(server.query(BOB, &[ALICE])["device_keys"], json!({ALICE: {}}));
    server.device(ALICE, "A1");
    assert_eq!(claim(&server.host), None);
    assert_eq!(server.query(BOB, &[ALICE])["device_keys"], json!({ALICE: {}}));
    // What the new one uploads is its own, under the same names, too.
    let body =
        json!({"device_keys": device_keys(ALICE, "A1"), "one_time_keys": {"curve25519:old": "3"}});
    upload(&server, &body);
    server.deliver();
    assert_eq!(server.query(BOB, &[ALICE])["device_keys"][ALICE].as_object().unwrap().len(), 1);
    assert_eq!(claim(&server.host).unwrap(), "curve25519:old");
    assert_eq!(claim(&server.host), None);
}

#[test]
fn fallback_keys_that_nobody_wants_do_not_keep_others_back() {
    let server = server();
    upload(&server, &json!({"fallback_keys": {"curve25519:f": "1"}}));
    server.post((BOB, "B1"), "upload", &json!({"one_time_keys": {"curve25519:b": "2"}})).ok();
    let large = json!("x".repeat(1 << 20)).to_string();
    let sql = "INSERT INTO keys_fallback (user_id, device_id, algorithm, key_id, json, used, position) \
               VALUES ($1, 'A2', $2, 'k', $3, FALSE, $4)";
    for n in 0..34 {
        let row = tessera_sdk::params![ALICE, format!("a{n}"), &large, i64::MAX];
        tessera_sdk::storage::Batch::new().run(sql, row).commit().unwrap();
    }
    let body = json!({"one_time_keys": {ALICE: {"A1": "curve25519"}, BOB: {"B1": "curve25519"}}});
    let answer = server.post((CAROL, "C1"), "claim", &body).ok();
    let expected =
        json!({ALICE: {"A1": {"curve25519:f": "1"}}, BOB: {"B1": {"curve25519:b": "2"}}});
    assert_eq!(answer["one_time_keys"], expected);
}
