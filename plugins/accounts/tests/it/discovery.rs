//! What clients look up before and beside their work.

use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_test_host::{TestAnswer, TestHost};

use crate::words::{ANN, ask, authenticate_at, builder, log_in, proof, register, start};

fn get(host: &TestHost, route: &str) -> TestAnswer {
    host.request("GET", route).send::<Plugin>()
}

#[test]
fn well_known_files_say_what_the_operator_says() {
    let host = start();
    for route in ["well-known", "support", "policy-server"] {
        assert_eq!(get(&host, route).error(), (404, "M_NOT_FOUND".to_owned()));
    }
    let config = json!({
        "base-url": "https://matrix.example.org", "identity-server": "https://id.example.org",
        "well-known": { "org.example.x": { "y": 1 } },
        "support": { "support_page": "https://example.org/help" },
        "policy-server": { "public_keys": { "ed25519": "abc" } },
    });
    let host = builder().config("accounts", &config).start();
    let client = json!({
        "m.homeserver": { "base_url": "https://matrix.example.org" },
        "m.identity_server": { "base_url": "https://id.example.org" },
        "org.example.x": { "y": 1 },
    });
    assert_eq!(get(&host, "well-known").ok(), client);
    assert_eq!(get(&host, "support").ok()["support_page"], "https://example.org/help");
    assert_eq!(get(&host, "policy-server").ok()["public_keys"]["ed25519"], "abc");
    register(&host, "ann");
    let done = log_in(&host, crate::words::by_name("ann", "secret")).ok();
    assert_eq!(done["well_known"], client);
}

#[test]
fn openid_token_tells_who_and_nothing_else() {
    let host = start();
    register(&host, "ann");
    let token =
        ask(&host, "POST", "openid userId=@ann:hs1", json!({})).ok()["access_token"].clone();
    let info = |token: &str| {
        host.request("GET", "openid-userinfo").query("access_token", token).send::<Plugin>()
    };
    assert_eq!(info(token.as_str().unwrap()).ok(), json!({ "sub": ANN }));
    assert_eq!(info("guess").error(), (401, "M_UNKNOWN_TOKEN".to_owned()));
    assert_eq!(get(&host, "openid-userinfo").error(), (401, "M_MISSING_TOKEN".to_owned()));
    host.advance(3_600_000);
    assert_eq!(info(token.as_str().unwrap()).error().0, 401);
}

#[test]
fn turn_credentials_are_made_from_the_shared_secret() {
    let host = start();
    assert_eq!(ask(&host, "GET", "turn-server", Value::Null).ok(), json!({}));
    let turn = json!({ "uris": ["turn:t.example.org"], "secret": "s", "lifetime-ms": 60_000 });
    let host = builder().config("accounts", &json!({ "turn": turn })).now_ms(1_000_000).start();
    let told = ask(&host, "GET", "turn-server", Value::Null).ok();
    assert_eq!((&told["username"], &told["ttl"]), (&json!("1060:@ann:hs1"), &json!(60)));
    assert_eq!(told["uris"], json!(["turn:t.example.org"]));
    assert_eq!(told["password"].as_str().unwrap().len(), 28);
    let turn = json!({ "uris": ["turn:t"], "username": "u", "password": "p" });
    let host = builder().config("accounts", &json!({ "turn": turn })).start();
    let told = ask(&host, "GET", "turn-server", Value::Null).ok();
    assert_eq!((&told["username"], &told["password"]), (&json!("u"), &json!("p")));
}

#[test]
fn session_gets_a_token_for_another_device() {
    let host = start();
    register(&host, "ann");
    let asked = ask(&host, "POST", "login-get-token", json!({}));
    assert_eq!(asked.status(), 401);
    let body = json!({ "auth": proof(&asked.json()["session"]) });
    let told = ask(&host, "POST", "login-get-token", body).ok();
    assert_eq!(told["expires_in_ms"], 120_000);
    let done = log_in(&host, json!({ "type": "m.login.token", "token": told["login_token"] })).ok();
    assert_eq!(done["user_id"], ANN);
    let flows = get(&host, "login-types").ok()["flows"].clone();
    assert!(
        flows
            .as_array()
            .unwrap()
            .contains(&json!({ "type": "m.login.token", "get_login_token": true }))
    );
    let host = builder().config("accounts", &json!({ "token-login": false })).start();
    register(&host, "ann");
    let off = ask(&host, "POST", "login-get-token", json!({}));
    assert_eq!(off.error(), (404, "M_UNRECOGNIZED".to_owned()));
    let flows = get(&host, "login-types").ok()["flows"].clone();
    assert_eq!(flows, json!([{ "type": "m.login.password" }]));
    let token = log_in(&host, json!({ "type": "m.login.token", "token": "x" }));
    assert_eq!(token.error(), (400, "M_UNKNOWN".to_owned()));
    let service = log_in(&host, json!({ "type": "m.login.application_service" }));
    assert_eq!(service.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn capabilities_are_those_of_who_asks() {
    let host = builder().config("accounts", &json!({ "threepid-changes": false })).start();
    let told = ask(&host, "GET", "capabilities", Value::Null).ok()["capabilities"].clone();
    assert_eq!(told["m.3pid_changes"]["enabled"], false);
    assert_eq!(told["m.get_login_token"]["enabled"], true);
    assert_eq!(told["m.room_versions"]["default"], "12");
    assert_eq!(told.get("m.account_moderation"), None);
    let admin = host.request("GET", "capabilities").user(ANN).mark("admin").send::<Plugin>().ok();
    assert_eq!(
        admin["capabilities"]["m.account_moderation"],
        json!({ "lock": true, "suspend": true })
    );
}

#[test]
fn nothing_is_bridged() {
    let host = start();
    assert_eq!(ask(&host, "GET", "protocols", Value::Null).ok(), json!({}));
    let unknown = ask(&host, "GET", "bridged protocol=irc", Value::Null);
    assert_eq!(unknown.error(), (404, "M_NOT_FOUND".to_owned()));
    for (route, name) in [("bridged-location", "alias"), ("bridged-user", "userid")] {
        let request = host.request("GET", route).user(ANN);
        assert_eq!(request.clone().query(name, "x").send::<Plugin>().ok(), json!([]));
        assert_eq!(request.send::<Plugin>().error(), (400, "M_MISSING_PARAM".to_owned()));
    }
}

#[test]
fn profiles_may_be_for_users_only() {
    let host = builder().config("accounts", &json!({ "profile-lookups": "users" })).start();
    register(&host, "ann");
    let look = |host: &TestHost| host.request("GET", "profile").param("userId", ANN);
    assert_eq!(look(&host).send::<Plugin>().error(), (401, "M_MISSING_TOKEN".to_owned()));
    assert_eq!(look(&host).user(ANN).send::<Plugin>().ok(), json!({}));
}

#[test]
fn token_is_optional_where_the_specification_says_so() {
    let _host = start();
    assert_eq!(authenticate_at("/_matrix/client/v3/profile/@a:b", "", ""), Ok(None));
    assert!(authenticate_at("/_matrix/client/v3/sync", "", "").is_err());
    assert!(authenticate_at("/_matrix/client/v3/profile/@a:b", "Bearer wrong", "").is_err());
}

#[test]
fn new_name_of_a_device_is_told_once() {
    let host = start();
    register(&host, "ann");
    let rename = |name: Value| {
        ask(&host, "PUT", "device-rename deviceId=DEV", json!({ "display_name": name })).ok();
        host.messages("accounts.sessions").iter().filter(|it| it["change"] == "renamed").count()
    };
    assert_eq!(rename(json!("Phone")), 1);
    assert_eq!(rename(json!("Phone")), 1);
    assert_eq!(rename(Value::Null), 1);
    assert_eq!(rename(json!("Tablet")), 2);
}
