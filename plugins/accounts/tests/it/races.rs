//! Two nodes at the same moment: `before_next_commit` is the other one.

use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_test_host::TestHost;

use crate::words::{ANN, ask_as, by_name, log_in, proof, register, start, who};

fn session(host: &TestHost, route: &str) -> Value {
    ask_as(host, ANN, "DEV", "POST", route, json!({})).json()["session"].clone()
}

#[test]
fn one_name_is_registered_once() {
    let host = start();
    host.before_next_commit(|host| {
        register(host, "ann");
    });
    let body =
        json!({ "username": "ann", "password": "other", "auth": { "type": "m.login.dummy" } });
    let late = host.request("POST", "register").json(&body).send::<Plugin>();
    assert_eq!(late.error(), (400, "M_USER_IN_USE".to_owned()));
    assert_eq!(log_in(&host, by_name("ann", "secret")).status(), 200);
    assert_eq!(log_in(&host, by_name("ann", "other")).status(), 403);
}

#[test]
fn a_log_in_with_the_old_password_does_not_outlive_the_change() {
    let host = start();
    register(&host, "ann");
    let session = session(&host, "password");
    host.before_next_commit(|host| {
        log_in(host, by_name("ann", "secret")).ok();
    });
    let body = json!({ "new_password": "changed", "auth": proof(&session) });
    ask_as(&host, ANN, "DEV", "POST", "password", body).ok();
    let devices = ask_as(&host, ANN, "DEV", "GET", "devices", Value::Null).ok();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1, "{devices}");
}

#[test]
fn a_log_in_after_the_password_has_changed_fails() {
    let host = start();
    register(&host, "ann");
    let session = session(&host, "password");
    host.before_next_commit(move |host| {
        let body = json!({ "new_password": "changed", "auth": proof(&session) });
        ask_as(host, ANN, "DEV", "POST", "password", body).ok();
    });
    assert_eq!(log_in(&host, by_name("ann", "secret")).status(), 403);
}

#[test]
fn a_refresh_after_the_log_out_fails() {
    let host = start();
    register(&host, "ann");
    let mut body = by_name("ann", "secret");
    body["refresh_token"] = json!(true);
    body["device_id"] = json!("DEV");
    let tokens = log_in(&host, body).ok();
    host.before_next_commit(|host| {
        ask_as(host, ANN, "DEV", "POST", "logout", json!({})).ok();
    });
    let body = json!({ "refresh_token": tokens["refresh_token"] });
    let late = host.request("POST", "refresh").json(&body).send::<Plugin>();
    assert_eq!(late.error(), (401, "M_UNKNOWN_TOKEN".to_owned()));
    assert!(who(&tokens["access_token"]).is_err());
}

#[test]
fn a_user_is_deactivated_once() {
    let host = start();
    register(&host, "ann");
    host.cap("users", Some(2));
    let (one, other) = (session(&host, "deactivate"), session(&host, "deactivate"));
    host.before_next_commit(move |host| {
        let body = json!({ "auth": proof(&other) });
        ask_as(host, ANN, "DEV", "POST", "deactivate", body).ok();
    });
    ask_as(&host, ANN, "DEV", "POST", "deactivate", json!({ "auth": proof(&one) })).ok();
    register(&host, "bob");
    register(&host, "eve");
    let body = json!({ "username": "joe", "password": "p", "auth": { "type": "m.login.dummy" } });
    assert_eq!(host.request("POST", "register").json(&body).send::<Plugin>().status(), 403);
}

/// Registers these names at once; how many got what status.
fn together(host: &TestHost, names: &[&str]) -> Vec<(u16, String)> {
    let all: Vec<_> = names
        .iter()
        .map(|name| {
            let body = json!({
                "username": name, "password": "secret", "auth": { "type": "m.login.dummy" },
            });
            let host = host.clone();
            std::thread::spawn(move || {
                host.install();
                host.act_as("accounts");
                let answer = host.request("POST", "register").json(&body).send::<Plugin>();
                let code = answer.json()["errcode"].as_str().unwrap_or_default().to_owned();
                (answer.status(), code)
            })
        })
        .collect();
    let mut answers: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
    answers.sort();
    answers
}

#[test]
fn of_many_who_want_one_name_one_gets_it() {
    let host = start();
    let answers = together(&host, &["ann"; 6]);
    assert_eq!(answers[0].0, 200);
    assert!(answers[1..].iter().all(|answer| answer.1 == "M_USER_IN_USE"), "{answers:?}");
}

#[test]
fn of_many_at_once_as_many_register_as_the_cap_allows() {
    let host = start();
    host.cap("users", Some(3));
    let answers = together(&host, &["a", "b", "c", "d", "e", "f"]);
    assert!(answers[..3].iter().all(|answer| answer.0 == 200), "{answers:?}");
    assert!(answers[3..].iter().all(|answer| answer.1 == "M_RESOURCE_LIMIT_EXCEEDED"));
}

#[test]
fn of_two_who_change_the_password_with_the_same_old_one_only_one_does() {
    let host = start();
    register(&host, "ann");
    let (one, other) = (session(&host, "password"), session(&host, "password"));
    host.before_next_commit(move |host| {
        let body = json!({ "new_password": "first", "auth": proof(&other) });
        ask_as(host, ANN, "DEV", "POST", "password", body).ok();
    });
    let body = json!({ "new_password": "second", "auth": proof(&one) });
    let late = ask_as(&host, ANN, "DEV", "POST", "password", body);
    assert_eq!(late.error(), (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(log_in(&host, by_name("ann", "first")).status(), 200);
}

#[test]
fn a_token_that_was_refreshed_during_a_log_out_ends_with_it() {
    let host = start();
    register(&host, "ann");
    let refreshing = || {
        let mut body = by_name("ann", "secret");
        body["refresh_token"] = json!(true);
        log_in(&host, body).ok()
    };
    let meanwhile = |tokens: Value| {
        let fresh = std::sync::Arc::new(std::sync::Mutex::new(Value::Null));
        let into = fresh.clone();
        host.before_next_commit(move |host| {
            let body = json!({ "refresh_token": tokens["refresh_token"] });
            let renewed = host.request("POST", "refresh").json(&body).send::<Plugin>().ok();
            *into.lock().unwrap() = renewed["access_token"].clone();
            // Who has it is known from now on, until this is woken.
            who(&renewed["access_token"]).unwrap();
            let _ = host.wakes();
        });
        fresh
    };
    let topic = |token: &Value| {
        let hash = tessera_sdk::digest::sha256(token.as_str().unwrap().as_bytes());
        format!("session:{hash}")
    };
    // All others, by a new password.
    let auth = proof(&session(&host, "password"));
    let fresh = meanwhile(refreshing());
    let body = json!({ "new_password": "secret", "auth": auth });
    ask_as(&host, ANN, "DEV", "POST", "password", body).ok();
    assert!(who(&fresh.lock().unwrap()).is_err());
    assert!(host.wakes().contains(&topic(&fresh.lock().unwrap())));
    // One device.
    let tokens = refreshing();
    let device = tokens["device_id"].as_str().unwrap().to_owned();
    let fresh = meanwhile(tokens);
    ask_as(&host, ANN, &device, "POST", "logout", json!({})).ok();
    assert!(who(&fresh.lock().unwrap()).is_err());
    assert!(host.wakes().contains(&topic(&fresh.lock().unwrap())));
}

#[test]
fn of_two_refreshes_at_once_what_the_later_voids_is_told() {
    let host = start();
    register(&host, "ann");
    let mut body = by_name("ann", "secret");
    body["refresh_token"] = json!(true);
    let refresh = json!({ "refresh_token": log_in(&host, body).ok()["refresh_token"] });
    let renew = |host: &TestHost, body: &Value| {
        host.request("POST", "refresh").json(body).send::<Plugin>().ok()["access_token"].clone()
    };
    let earlier = std::sync::Arc::new(std::sync::Mutex::new(Value::Null));
    let (into, same) = (earlier.clone(), refresh.clone());
    host.before_next_commit(move |host| {
        *into.lock().unwrap() = renew(host, &same);
        let _ = host.wakes();
    });
    let later = renew(&host, &refresh);
    let earlier = earlier.lock().unwrap().clone();
    assert!(who(&later).is_ok() && who(&earlier).is_err());
    let hash = tessera_sdk::digest::sha256(earlier.as_str().unwrap().as_bytes());
    assert!(host.wakes().contains(&format!("session:{hash}")));
}
