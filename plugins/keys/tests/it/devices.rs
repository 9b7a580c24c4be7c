//! What happens when devices come and go.

use serde_json::{Value, json};

use crate::server::*;

fn everything(server: &Server, user: &str, device: &str) {
    let body = json!({
        "device_keys": device_keys(user, device), "one_time_keys": {"curve25519:a": "1"},
        "fallback_keys": {"curve25519:f": "2"},
    });
    server.post((user, device), "upload", &body).ok();
    let messages = json!({"messages": {user: {device: {"n": 1}}}});
    let params = [("eventType", "m.x"), ("txnId", device)];
    server.ask((user, device), ("PUT", "send-to-device"), &params, "", &messages).ok();
}

/// Devices of which anything is stored.
fn stored(server: &Server) -> Vec<(String,)> {
    server.rows(
        "SELECT device_id FROM keys_devices UNION SELECT device_id FROM keys_one_time \
         UNION SELECT device_id FROM keys_fallback UNION SELECT device_id FROM keys_to_device \
         UNION SELECT device_id FROM keys_transactions ORDER BY device_id",
    )
}

#[test]
fn nothing_is_left_of_a_device_that_is_gone() {
    let server = server();
    everything(&server, ALICE, "A1");
    everything(&server, ALICE, "A2");
    let since = server.token();
    server.log_out(ALICE, "A1");
    let devices = server.query(BOB, &[ALICE])["device_keys"][ALICE].clone();
    assert_eq!(devices.as_object().unwrap().keys().collect::<Vec<_>>(), ["A2"], "at once");
    let _ = server.host.wakes();
    assert_eq!(server.deliver(), 1);
    assert_eq!(stored(&server), [("A2".to_owned(),)]);
    assert_eq!(server.changes(BOB, &since).0, [ALICE]);
    assert!(server.host.wakes().contains(&format!("room:{ROOM}")));
}

#[test]
fn all_but_the_one_that_is_kept_go() {
    let server = server();
    everything(&server, ALICE, "A1");
    everything(&server, ALICE, "A2");
    everything(&server, BOB, "B1");
    let all =
        json!({"user_id": ALICE, "change": "logout", "device_id": null, "kept_device_id": "A2"});
    server.remove(ALICE, "A1");
    server.tell("accounts.sessions", &all);
    server.deliver();
    assert_eq!(stored(&server), [("A2".to_owned(),), ("B1".to_owned(),)]);
}

#[test]
fn a_late_message_does_not_touch_the_device_that_came_after() {
    let server = server();
    everything(&server, ALICE, "A1");
    server.log_out(ALICE, "A1");
    server.device(ALICE, "A1");
    let body =
        json!({"device_keys": device_keys(ALICE, "A1"), "one_time_keys": {"curve25519:n": "1"}});
    server.post((ALICE, "A1"), "upload", &body).ok();
    server.deliver();
    let keys: Vec<(String,)> = server.rows("SELECT key_id FROM keys_one_time");
    assert_eq!(keys, [("n".to_owned(),)]);
    assert_eq!(server.query(BOB, &[ALICE])["device_keys"][ALICE].as_object().unwrap().len(), 1);
}

#[test]
fn a_log_in_and_a_new_name_are_changes() {
    let server = server();
    for change in ["login", "renamed"] {
        let since = server.token();
        let told = json!({"user_id": ALICE, "change": change, "device_id": "A2", "kind": "x"});
        server.tell("accounts.sessions", &told);
        server.deliver();
        assert_eq!(server.changes(BOB, &since).0, [ALICE], "{change}");
    }
    let since = server.token();
    server.tell("accounts.users", &json!({"user_id": ALICE, "change": "registered"}));
    server.deliver();
    assert!(server.changes(BOB, &since).0.is_empty());
}

#[test]
fn of_a_deactivated_user_only_the_public_keys_stay() {
    let server = server();
    everything(&server, ALICE, "A1");
    everything(&server, BOB, "B1");
    let version = json!({"algorithm": "m.x", "auth_data": {}});
    server.post((ALICE, "A1"), "backup-create", &version).ok();
    let session = json!({
        "first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": {},
    });
    let place = [("roomId", ROOM), ("sessionId", "s")];
    server.ask((ALICE, "A1"), ("PUT", "backup-session-put"), &place, "version=1", &session).ok();
    let master = json!({"user_id": ALICE, "usage": ["master"], "keys": {"ed25519:m": "m"}});
    server.post((ALICE, "A1"), "device-signing", &json!({"master_key": master})).ok();
    let dehydrated = json!({
        "device_id": "DEHYDRATED", "device_data": {"algorithm": "x"}, "device_keys": device_keys(ALICE, "DEHYDRATED"),
    });
    server.ask((ALICE, "A1"), ("PUT", "dehydrated-put"), &[], "", &dehydrated).ok();
    server.remove(ALICE, "A1");
    server.tell("accounts.users", &json!({"user_id": ALICE, "change": "deactivated"}));
    server.deliver();
    assert_eq!(stored(&server), [("B1".to_owned(),)]);
    let backup = server.ask((ALICE, "A1"), ("GET", "backup-current"), &[], "", &Value::Null);
    assert_eq!(backup.error().0, 404);
    let left: Vec<(i64,)> = server.rows(
        "SELECT (SELECT COUNT(*) FROM keys_backup_keys) + (SELECT COUNT(*) FROM keys_dehydrated) AS n",
    );
    assert_eq!(left, [(0,)]);
    assert_eq!(server.query(BOB, &[ALICE])["master_keys"][ALICE], master);
}

#[test]
fn names_of_devices_are_shown() {
    let server = server();
    everything(&server, ALICE, "A1");
    server.host.acting("accounts", || {
        let sql = "UPDATE accounts_devices SET display_name = 'Phone' WHERE device_id = 'A1'";
        tessera_sdk::storage::Batch::new().run(sql, vec![]).commit().unwrap();
    });
    let unsigned = server.query(BOB, &[ALICE])["device_keys"][ALICE]["A1"]["unsigned"].clone();
    assert_eq!(unsigned, json!({"device_display_name": "Phone"}));
}

#[test]
fn user_in_very_many_rooms_uploads_and_logs_out_and_all_hear_of_it() {
    const ROOMS: u32 = 2500;
    let server = server();
    server.in_rooms(ALICE, ROOMS);
    let woken = || {
        let woken: std::collections::BTreeSet<String> = server.host.wakes().into_iter().collect();
        (0..ROOMS).all(|n| woken.contains(&format!("room:!{n}:hs1")))
    };
    server.post((ALICE, "A1"), "upload", &json!({"device_keys": device_keys(ALICE, "A1")})).ok();
    assert!(woken());
    server.log_out(ALICE, "A1");
    server.deliver();
    assert!(woken());
    assert_eq!(server.rows::<(i64,)>("SELECT COUNT(*) FROM keys_devices"), [(0,)]);
}

#[test]
fn wake_ups_of_further_commits_wait_for_the_horizon_too() {
    let server = server();
    server.in_rooms(ALICE, 2500);
    server.host.hold_horizon(server.host.horizon());
    server.post((ALICE, "A1"), "upload", &json!({"device_keys": device_keys(ALICE, "A1")})).ok();
    assert!(server.host.wakes().is_empty());
    server.host.release_horizon();
    assert!(server.host.wakes().contains(&"room:!2499:hs1".to_owned()));
}
