use serde_json::{Value, json};

use crate::words::{ANN, ask, authenticate, by_name, log_in, register, start, who};

#[test]
fn token_is_read_from_header_and_query() {
    let host = start();
    let token = register(&host, "ann")["access_token"].as_str().unwrap().to_owned();
    let ways = [
        (format!("Bearer {token}"), String::new()),
        (format!("bearer {token}"), String::new()),
        (String::new(), format!("a=b&access_token={token}")),
    ];
    for (header, query) in ways {
        let grant = authenticate(&header, &query).unwrap().unwrap();
        assert_eq!(grant.principal.user, ANN);
        assert_eq!(grant.principal.device.as_deref(), Some("DEV"));
        assert_eq!(grant.cache_ms, 300_000);
        assert_eq!(grant.topics[1], "sessions:@ann:hs1");
    }
}

#[test]
fn missing_and_wrong_credentials_are_told_apart() {
    let _host = start();
    for header in ["", "Basic eDp5", "Bearer"] {
        let denial = authenticate(header, "").unwrap_err();
        assert!(denial.body.contains("M_MISSING_TOKEN"), "{header}: {}", denial.body);
    }
    let denial = authenticate("Bearer wrong", "").unwrap_err();
    let body: Value = serde_json::from_str(&denial.body).unwrap();
    assert_eq!(denial.status, 401);
    assert_eq!(
        (&body["errcode"], &body["soft_logout"]),
        (&json!("M_UNKNOWN_TOKEN"), &json!(false))
    );
}

#[test]
fn logout_voids_the_token_and_wakes_its_session() {
    let host = start();
    let first = register(&host, "ann");
    let second = log_in(&host, by_name("ann", "secret")).ok();
    let session = who(&first["access_token"]).unwrap().topics[0].clone();
    let _ = host.wakes();
    assert_eq!(ask(&host, "POST", "logout", json!({})).ok(), json!({}));
    assert_eq!(host.wakes(), [session]);
    assert!(who(&first["access_token"]).is_err());
    assert!(who(&second["access_token"]).is_ok());
}

#[test]
fn logout_of_all_voids_every_token() {
    let host = start();
    let first = register(&host, "ann");
    let second = log_in(&host, by_name("ann", "secret")).ok();
    let other = register(&host, "bob");
    let _ = host.wakes();
    ask(&host, "POST", "logout-all", json!({})).ok();
    assert_eq!(host.wakes(), ["sessions:@ann:hs1"]);
    assert!(who(&first["access_token"]).is_err() && who(&second["access_token"]).is_err());
    assert!(who(&other["access_token"]).is_ok());
}

#[test]
fn whoami_tells_user_and_device() {
    let host = start();
    let me = ask(&host, "GET", "whoami", Value::Null).ok();
    assert_eq!(me, json!({ "user_id": ANN, "device_id": "DEV", "is_guest": false }));
}
