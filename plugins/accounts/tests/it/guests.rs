//! Guests, and what administrators restrict.

use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_sdk::bindings::authenticator::exports::tessera::plugin::authenticator::{
    Credentials, Denial, Grant, Guest as _,
};
use tessera_test_host::{TestAnswer, TestHost};

use crate::words::{ANN, ask, builder, by_name, log_in, register, start};

fn guests() -> TestHost {
    builder().config("accounts", &json!({ "guests": true })).start()
}

fn guest(host: &TestHost) -> Value {
    let request = host.request("POST", "register").query("kind", "guest");
    request.json(&json!({ "device_id": "MINE" })).send::<Plugin>().ok()
}

fn try_it(token: &Value, method: &str, path: &str) -> Result<Option<Grant>, Denial> {
    Plugin::authenticate(Credentials {
        name: "access-token".to_owned(),
        method: method.to_owned(),
        path: format!("/_matrix/client/v3/{path}"),
        query: String::new(),
        headers: vec![("authorization".to_owned(), format!("Bearer {}", token.as_str().unwrap()))],
        remote: "127.0.0.1".to_owned(),
        body: Vec::new(),
    })
}

fn denied(answer: Result<Option<Grant>, Denial>) -> (u16, Value) {
    let denial = answer.unwrap_err();
    (denial.status, serde_json::from_str(&denial.body).unwrap())
}

fn restrict(host: &TestHost, what: &str, user: &str, body: Value) -> TestAnswer {
    let route = format!("admin-{what}");
    let request = host.request("PUT", &route).user("@root:hs1").mark("admin");
    request.param("userId", user).json(&body).send::<Plugin>()
}

#[test]
fn guest_gets_a_device_of_the_servers_choice_and_a_mark() {
    let host = guests();
    let guest = guest(&host);
    assert_ne!(guest["device_id"], "MINE");
    let grant = try_it(&guest["access_token"], "GET", "sync").unwrap().unwrap();
    assert_eq!((grant.principal.marks, grant.cache_ms), (vec!["guest".to_owned()], 0));
    let (status, body) = denied(try_it(&guest["access_token"], "POST", "createRoom"));
    assert_eq!((status, &body["errcode"]), (403, &json!("M_GUEST_ACCESS_FORBIDDEN")));
    let whoami =
        host.request("GET", "whoami").user(guest["user_id"].as_str().unwrap()).mark("guest");
    assert_eq!(whoami.send::<Plugin>().ok()["is_guest"], true);
}

#[test]
fn guest_becomes_a_user_and_nobody_else_does() {
    let host = guests();
    let (one, two) = (guest(&host), guest(&host));
    let name = |guest: &Value| {
        let user = guest["user_id"].as_str().unwrap();
        user[1..].split(':').next().unwrap().to_owned()
    };
    let upgrade = |name: &str, token: &Value| {
        let body = json!({
            "username": name, "password": "secret", "guest_access_token": token, "auth": { "type": "m.login.dummy" },
        });
        host.request("POST", "register").json(&body).send::<Plugin>()
    };
    assert_eq!(upgrade(&name(&one), &two["access_token"]).error().0, 403);
    assert_eq!(upgrade("free", &one["access_token"]).error().0, 403);
    assert_eq!(upgrade(&name(&one), &json!("guess")).error().0, 403);
    let done = upgrade(&name(&one), &one["access_token"]).ok();
    assert_eq!(done["user_id"], one["user_id"]);
    assert!(try_it(&done["access_token"], "POST", "createRoom").is_ok());
    let (status, body) = denied(try_it(&one["access_token"], "POST", "createRoom"));
    assert_eq!(
        (status, &body["errcode"]),
        (401, &json!("M_UNKNOWN_TOKEN")),
        "the guest is no more"
    );
    log_in(&host, by_name(&name(&one), "secret")).ok();
    assert_eq!(upgrade(&name(&one), &one["access_token"]).error().0, 403, "once");
}

#[test]
fn what_a_guest_opens_while_they_become_a_user_ends_at_once() {
    use std::sync::{Arc, Mutex};
    use tessera_sdk::bindings::accounts::exports::tessera::services::accounts::Guest;
    let host = guests();
    let one = guest(&host);
    let user = one["user_id"].as_str().unwrap().to_owned();
    let name = user[1..].split(':').next().unwrap().to_owned();
    let late = Arc::<Mutex<String>>::default();
    let into = late.clone();
    let _ = host.wakes();
    host.before_next_commit(move |_| {
        let session = <Plugin as Guest>::log_in(user.clone(), None, None).unwrap();
        *into.lock().unwrap() = session.access_token;
    });
    let body = json!({
        "username": name, "password": "secret", "guest_access_token": one["access_token"],
        "auth": { "type": "m.login.dummy" },
    });
    host.request("POST", "register").json(&body).send::<Plugin>().ok();
    let hash = tessera_sdk::digest::sha256(late.lock().unwrap().as_bytes());
    assert!(host.wakes().contains(&format!("session:{hash}")));
}

#[test]
fn locked_user_can_only_log_out_and_keeps_the_session() {
    let host = start();
    let ann = register(&host, "ann");
    let token = &ann["access_token"];
    let _ = host.wakes();
    assert_eq!(
        restrict(&host, "lock", ANN, json!({ "locked": true })).ok(),
        json!({ "locked": true })
    );
    assert_eq!(host.wakes(), [format!("sessions:{ANN}")]);
    let (status, body) = denied(try_it(token, "GET", "sync"));
    assert_eq!(
        (status, &body["errcode"], &body["soft_logout"]),
        (401, &json!("M_USER_LOCKED"), &json!(true))
    );
    assert!(try_it(token, "POST", "logout").is_ok());
    assert_eq!(log_in(&host, by_name("ann", "secret")).error(), (401, "M_USER_LOCKED".to_owned()));
    assert_eq!(log_in(&host, by_name("ann", "wrong")).error(), (403, "M_FORBIDDEN".to_owned()));
    restrict(&host, "lock", ANN, json!({ "locked": false })).ok();
    assert!(try_it(token, "GET", "sync").is_ok());
}

#[test]
fn locked_user_gets_no_new_tokens() {
    let host = start();
    register(&host, "ann");
    let mut body = by_name("ann", "secret");
    body["refresh_token"] = json!(true);
    let refresh = log_in(&host, body).ok()["refresh_token"].clone();
    let renew = |token: &Value| {
        host.request("POST", "refresh").json(&json!({ "refresh_token": token })).send::<Plugin>()
    };
    restrict(&host, "lock", ANN, json!({ "locked": true })).ok();
    assert_eq!(renew(&refresh).error(), (401, "M_USER_LOCKED".to_owned()));
    restrict(&host, "lock", ANN, json!({ "locked": false })).ok();
    renew(&refresh).ok();
}

#[test]
fn suspended_user_reads_but_does_not_write() {
    let host = start();
    let ann = register(&host, "ann");
    let token = &ann["access_token"];
    restrict(&host, "suspend", ANN, json!({ "suspended": true })).ok();
    let path = "rooms/!r:hs1/send/m.room.message/1";
    let (status, body) = denied(try_it(token, "PUT", path));
    assert_eq!((status, &body["errcode"]), (403, &json!("M_USER_SUSPENDED")));
    let grant = try_it(token, "GET", "sync").unwrap().unwrap();
    assert_eq!(grant.principal.marks, ["suspended"]);
    log_in(&host, by_name("ann", "secret")).ok();
    let asked = host.request("GET", "admin-suspended").user("@root:hs1").mark("admin");
    assert_eq!(asked.param("userId", ANN).send::<Plugin>().ok(), json!({ "suspended": true }));
    restrict(&host, "suspend", ANN, json!({ "suspended": false })).ok();
    assert!(try_it(token, "PUT", path).is_ok());
}

#[test]
fn only_administrators_restrict_and_never_one_another() {
    let host = start();
    register(&host, "ann");
    for what in ["lock", "suspend"] {
        let body = json!({ "locked": true, "suspended": true });
        let path = format!("admin-{what} userId=@nobody:hs1");
        assert_eq!(ask(&host, "PUT", &path, body.clone()).error(), (403, "M_FORBIDDEN".to_owned()));
        let not_found = (404, "M_NOT_FOUND".to_owned());
        assert_eq!(restrict(&host, what, "@nobody:hs1", body.clone()).error(), not_found);
        let elsewhere = restrict(&host, what, "@ann:hs2", body.clone()).error();
        assert_eq!(elsewhere, (400, "M_INVALID_PARAM".to_owned()));
        let missing = restrict(&host, what, ANN, json!({})).error();
        assert_eq!(missing, (400, "M_MISSING_PARAM".to_owned()));
        let wrong = restrict(&host, what, ANN, json!({ "locked": 1, "suspended": 1 })).error();
        assert_eq!(wrong, (400, "M_BAD_JSON".to_owned()));
    }
    use tessera_sdk::bindings::accounts::exports::tessera::services::accounts::{
        Guest as _, NewUser,
    };
    let root =
        NewUser { localpart: "root".to_owned(), password: None, displayname: None, admin: true };
    Plugin::register(root).unwrap();
    let answer = restrict(&host, "lock", "@root:hs1", json!({ "locked": true }));
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn whois_tells_the_user_and_administrators_where_devices_were_seen() {
    let host = start();
    register(&host, "ann");
    let told = ask(&host, "GET", "whois userId=@ann:hs1", Value::Null).ok();
    let connection = &told["devices"]["DEV"]["sessions"][0]["connections"][0];
    assert_eq!((&told["user_id"], &connection["ip"]), (&json!(ANN), &json!("127.0.0.1")));
    assert_eq!(connection["last_seen"], host.now_ms());
    let other = host.request("GET", "whois").user("@bob:hs1").param("userId", ANN);
    assert_eq!(other.clone().send::<Plugin>().error(), (403, "M_FORBIDDEN".to_owned()));
    other.mark("admin").send::<Plugin>().ok();
    let nobody = host.request("GET", "whois").user("@root:hs1").mark("admin");
    assert_eq!(nobody.param("userId", "@x:hs1").send::<Plugin>().error().0, 404);
}

#[test]
fn locked_user_cannot_act_without_a_token_either() {
    let host = start();
    register(&host, "ann");
    restrict(&host, "lock", ANN, json!({ "locked": true })).ok();
    let nobody = |body: Value| host.request("POST", "deactivate").json(&body).send::<Plugin>();
    let session = nobody(json!({})).json()["session"].clone();
    let answer = nobody(json!({ "auth": crate::words::proof(&session), "erase": true }));
    assert_eq!(answer.error(), (401, "M_USER_LOCKED".to_owned()));
    restrict(&host, "lock", ANN, json!({ "locked": false })).ok();
    log_in(&host, by_name("ann", "secret")).ok();
}
