use serde_json::json;
use tessera_plugin_accounts::Plugin;
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, query};

use crate::words::{ANN, ask, by_name, log_in, register, start};

fn count(table: &str) -> i64 {
    let rows = query(&format!("SELECT COUNT(*) FROM {table}"), vec![]).unwrap();
    rows.first::<(i64,)>().unwrap().unwrap().0
}

#[test]
fn user_with_a_thousand_devices_logs_in_on_known_ones_only() {
    let host = start();
    register(&host, "ann");
    let rows = (0..999).map(|n| params![ANN, format!("D{n}"), n, 0, ""]).collect();
    Batch::new()
        .run_many(
            "INSERT INTO accounts_devices (user_id, device_id, position, last_seen_ms, last_seen_ip) \
             VALUES ($1, $2, $3, $4, $5)",
            rows,
        )
        .commit()
        .unwrap();
    assert_eq!(log_in(&host, by_name("ann", "secret")).error().1, "M_FORBIDDEN");
    let mut known = by_name("ann", "secret");
    known["device_id"] = json!("D7");
    assert_eq!(log_in(&host, known).status(), 200);
    assert_eq!(count("accounts_devices"), 1000);
}

#[test]
fn oldest_sessions_of_authentication_go_first() {
    let host = start();
    let first = host.request("POST", "register").send::<Plugin>().json()["session"].clone();
    let now = host.now_ms();
    let rows = (0..10_000_u32).map(|n| params![format!("s{n}"), "x", now + 1]).collect();
    Batch::new()
        .run_many("INSERT INTO accounts_uia (session, scope, created_ms) VALUES ($1, $2, $3)", rows)
        .commit()
        .unwrap();
    host.advance(1);
    let _ = host.request("POST", "register").send::<Plugin>();
    assert_eq!(count("accounts_uia"), 10_001);
    let body = json!({
        "password": "x", "auth": { "type": "m.login.dummy", "session": first },
    });
    let answer = host.request("POST", "register").json(&body).send::<Plugin>();
    assert_eq!(answer.status(), 401, "its session was pushed out");
}

#[test]
fn too_many_openid_tokens_push_out_the_oldest() {
    let host = start();
    for _ in 0..105 {
        host.advance(1);
        ask(&host, "POST", "openid userId=@ann:hs1", json!({})).ok();
    }
    assert_eq!(count("accounts_openid"), 100);
}

#[test]
fn account_data_is_capped_in_bytes_and_may_shrink() {
    let host = start();
    Batch::new()
        .run(
            "INSERT INTO accounts_account_data (user_id, room_id, type, content, size, position) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            params![ANN, "", "much", "{}", (32 << 20) - 1000, 1],
        )
        .commit()
        .unwrap();
    let put = |kind: &str, length: usize| {
        let path = format!("account-data-set userId=@ann:hs1 type={kind}");
        ask(&host, "PUT", &path, json!({ "a": "x".repeat(length) })).status()
    };
    assert_eq!(put("more", 1_000), 413);
    assert_eq!(put("more", 900), 200);
    assert_eq!(put("more", 1_000), 413);
    assert_eq!(put("more", 800), 200);
    assert_eq!(put("other", 150), 200);
}
