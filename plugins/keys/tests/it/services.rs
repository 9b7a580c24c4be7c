//! What other plug-ins call.

use serde_json::{Value, json};
use tessera_plugin_keys::Plugin;
use tessera_sdk::bindings::keys::exports::tessera::services::keys::{Error, Guest};

use crate::server::*;

#[test]
fn what_has_reached_a_device_is_forgotten() {
    let server = server();
    let send = |id: &str, n: u32| {
        let messages = json!({BOB: {"*": {"n": n}}}).to_string();
        Plugin::send_to_device(ALICE.to_owned(), "m.x".to_owned(), id.to_owned(), messages)
            .unwrap();
    };
    send("1", 1);
    send("1", 2);
    send("2", 3);
    let rows = || -> Vec<(u64, String)> {
        server.rows("SELECT position, content FROM keys_v1_to_device ORDER BY position")
    };
    let before = rows();
    assert_eq!(before.len(), 2);
    Plugin::acknowledge(BOB.to_owned(), "B1".to_owned(), before[0].0).unwrap();
    assert_eq!(rows(), before[1..]);
    Plugin::acknowledge(BOB.to_owned(), "B1".to_owned(), before[0].0).unwrap();
    Plugin::acknowledge(ALICE.to_owned(), "B1".to_owned(), u64::MAX).unwrap();
    assert_eq!(rows(), before[1..]);
    let wrong =
        Plugin::send_to_device(ALICE.to_owned(), "m.x".to_owned(), "3".to_owned(), "[]".to_owned());
    assert!(matches!(wrong, Err(Error::Refused((code, _))) if code == "M_BAD_JSON"));
}

#[test]
fn keys_are_asked_for_and_claimed() {
    let server = server();
    let body =
        json!({"device_keys": device_keys(ALICE, "A1"), "one_time_keys": {"curve25519:a": "1"}});
    server.post((ALICE, "A1"), "upload", &body).ok();
    let request = json!({"device_keys": {ALICE: []}}).to_string();
    let answer: Value = serde_json::from_str(&Plugin::query(request, None).unwrap()).unwrap();
    assert_eq!(answer["device_keys"][ALICE]["A1"]["keys"]["ed25519:A1"], "e");
    let request = json!({"one_time_keys": {ALICE: {"A1": "curve25519"}}}).to_string();
    for expected in [json!({ALICE: {"A1": {"curve25519:a": "1"}}}), json!({})] {
        let answer: Value = serde_json::from_str(&Plugin::claim(request.clone()).unwrap()).unwrap();
        assert_eq!(answer["one_time_keys"], expected);
    }
    assert!(matches!(Plugin::query("{}".to_owned(), None), Err(Error::Refused(_))));
}
