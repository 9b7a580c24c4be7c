use serde_json::{Value, json};

use crate::words::{ask, by_name, log_in, proof, register, start, who};

#[test]
fn devices_are_listed_renamed_and_told() {
    let host = start();
    register(&host, "ann");
    let mut body = by_name("ann", "secret");
    body["device_id"] = json!("TWO");
    body["initial_device_display_name"] = json!("phone");
    log_in(&host, body).ok();
    ask(&host, "PUT", "device-rename deviceId=DEV", json!({ "display_name": "desk" })).ok();
    let devices = ask(&host, "GET", "devices", Value::Null).ok();
    let names: Vec<_> = devices["devices"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&names[0]["device_id"], &names[0]["display_name"]),
        (&json!("DEV"), &json!("desk"))
    );
    assert_eq!(names[1]["display_name"], "phone");
    let one = ask(&host, "GET", "device deviceId=TWO", Value::Null).ok();
    assert_eq!((&one["device_id"], &one["last_seen_ip"]), (&json!("TWO"), &json!("127.0.0.1")));
}

#[test]
fn unknown_devices_are_not_found() {
    let host = start();
    register(&host, "ann");
    let not_found = (404, "M_NOT_FOUND".to_owned());
    assert_eq!(ask(&host, "GET", "device deviceId=X", Value::Null).error(), not_found);
    let rename = ask(&host, "PUT", "device-rename deviceId=X", json!({ "display_name": "x" }));
    assert_eq!(rename.error(), not_found);
    let long = json!({ "display_name": "x".repeat(513) });
    assert_eq!(ask(&host, "PUT", "device-rename deviceId=DEV", long).error().0, 413);
}

#[test]
fn devices_are_deleted_after_the_password_stage() {
    let host = start();
    let first = register(&host, "ann");
    let mut tokens = Vec::new();
    for device in ["A", "B", "C"] {
        let mut body = by_name("ann", "secret");
        body["device_id"] = json!(device);
        tokens.push(log_in(&host, body).ok()["access_token"].clone());
    }
    let asked = ask(&host, "DELETE", "device-delete deviceId=A", json!({}));
    assert_eq!(asked.status(), 401);
    assert!(who(&tokens[0]).is_ok());
    let body = json!({ "auth": proof(&asked.json()["session"]) });
    ask(&host, "DELETE", "device-delete deviceId=A", body).ok();
    assert!(who(&tokens[0]).is_err() && who(&tokens[1]).is_ok());

    let asked = ask(&host, "POST", "devices-delete", json!({ "devices": ["B", "C", "X"] }));
    let body = json!({ "auth": proof(&asked.json()["session"]), "devices": ["B", "C", "X"] });
    ask(&host, "POST", "devices-delete", body).ok();
    assert!(who(&tokens[1]).is_err() && who(&tokens[2]).is_err());
    assert!(who(&first["access_token"]).is_ok());
}

#[test]
fn session_that_was_opened_for_one_device_deletes_no_other() {
    let host = start();
    register(&host, "ann");
    for device in ["A", "B"] {
        let mut body = by_name("ann", "secret");
        body["device_id"] = json!(device);
        log_in(&host, body).ok();
    }
    let asked = ask(&host, "DELETE", "device-delete deviceId=A", json!({}));
    let body = json!({ "auth": proof(&asked.json()["session"]) });
    let other = ask(&host, "DELETE", "device-delete deviceId=B", body.clone());
    assert_eq!(other.error(), (403, "M_FORBIDDEN".to_owned()));
    ask(&host, "GET", "device deviceId=B", Value::Null).ok();
    ask(&host, "DELETE", "device-delete deviceId=A", body).ok();
}

#[test]
fn name_is_no_longer_at_login_than_later() {
    let host = start();
    register(&host, "ann");
    let mut body = by_name("ann", "secret");
    body["initial_device_display_name"] = json!("x".repeat(513));
    assert_eq!(log_in(&host, body).error(), (413, "M_TOO_LARGE".to_owned()));
}

#[test]
fn only_devices_that_are_there_are_told_to_be_gone() {
    let host = start();
    register(&host, "ann");
    let before = host.messages("accounts.sessions").len();
    let session = ask(&host, "POST", "devices-delete", json!({})).json()["session"].clone();
    let body = json!({ "devices": ["NONE", "DEV", "DEV", "NOR"], "auth": proof(&session) });
    ask(&host, "POST", "devices-delete", body).ok();
    let told = host.messages("accounts.sessions").split_off(before);
    let told: Vec<_> = told.iter().map(|it| &it["device_id"]).collect();
    assert_eq!(told, ["DEV"]);
}

#[test]
fn device_is_not_named_like_a_cross_signing_key_of_its_user() {
    let host = start();
    register(&host, "ann");
    let public = "x".repeat(43);
    let key = public.clone();
    host.services(move |services| {
        services.query_keys = std::sync::Arc::new(move |_, request, viewer| {
            assert_eq!(viewer, Some("@ann:hs1"));
            assert!(request.contains("@ann:hs1"), "{request}");
            let keys = json!({ format!("ed25519:{key}"): key });
            Ok(json!({ "self_signing_keys": { "@ann:hs1": { "keys": keys } } }).to_string())
        });
    });
    let log_in_as = |device: &str| {
        let mut body = by_name("ann", "secret");
        body["device_id"] = json!(device);
        log_in(&host, body)
    };
    assert_eq!(log_in_as(&public).error(), (403, "M_FORBIDDEN".to_owned()));
    log_in_as(&"y".repeat(43)).ok();
}
