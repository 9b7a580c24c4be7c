use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_test_host::{TestAnswer, TestHost};

use crate::words::{by_name, log_in, register, start, who};

fn with_refresh(host: &TestHost) -> Value {
    register(host, "ann");
    let mut body = by_name("ann", "secret");
    body["refresh_token"] = json!(true);
    log_in(host, body).ok()
}

fn refresh(host: &TestHost, token: &Value) -> TestAnswer {
    let body = json!({ "refresh_token": token });
    host.request("POST", "refresh").json(&body).send::<Plugin>()
}

#[test]
fn expired_token_is_a_soft_logout() {
    let host = start();
    let first = with_refresh(&host);
    assert_eq!(first["expires_in_ms"], 3_600_000);
    host.advance(3_599_000);
    assert_eq!(who(&first["access_token"]).unwrap().cache_ms, 1_000);
    host.advance(1_000);
    let error = who(&first["access_token"]).unwrap_err();
    assert_eq!(
        (&error["errcode"], &error["soft_logout"]),
        (&json!("M_UNKNOWN_TOKEN"), &json!(true))
    );
    let second = refresh(&host, &first["refresh_token"]).ok();
    assert_eq!(who(&second["access_token"]).unwrap().principal.user, "@ann:hs1");
}

#[test]
fn old_refresh_token_is_good_until_a_new_token_is_used() {
    let host = start();
    let first = with_refresh(&host);
    let lost = refresh(&host, &first["refresh_token"]).ok();
    let second = refresh(&host, &first["refresh_token"]).ok();
    assert!(who(&lost["access_token"]).is_err(), "its answer was lost");
    assert!(who(&first["access_token"]).is_err());
    assert!(who(&second["access_token"]).is_ok());
    let used = refresh(&host, &first["refresh_token"]);
    assert_eq!(used.error(), (401, "M_UNKNOWN_TOKEN".to_owned()));
    assert_eq!(refresh(&host, &lost["refresh_token"]).status(), 401);
    assert_eq!(refresh(&host, &second["refresh_token"]).status(), 200);
}

#[test]
fn using_a_new_refresh_token_voids_the_old_one() {
    let host = start();
    let first = with_refresh(&host);
    let second = refresh(&host, &first["refresh_token"]).ok();
    let third = refresh(&host, &second["refresh_token"]).ok();
    assert_eq!(refresh(&host, &first["refresh_token"]).status(), 401);
    assert!(who(&third["access_token"]).is_ok());
}

#[test]
fn refreshing_wakes_the_old_session() {
    let host = start();
    let first = with_refresh(&host);
    let session = who(&first["access_token"]).unwrap().topics[0].clone();
    let _ = host.wakes();
    refresh(&host, &first["refresh_token"]).ok();
    assert_eq!(host.wakes(), [session]);
}

#[test]
fn unknown_and_missing_tokens_are_refused() {
    let host = start();
    assert_eq!(refresh(&host, &json!("x")).error(), (401, "M_UNKNOWN_TOKEN".to_owned()));
    assert_eq!(refresh(&host, &Value::Null).error(), (400, "M_MISSING_PARAM".to_owned()));
}
