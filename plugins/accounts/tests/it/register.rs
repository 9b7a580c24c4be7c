use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_sdk::bindings::lifecycle::exports::tessera::plugin::lifecycle::Guest as _;
use tessera_test_host::{TestAnswer, TestHost};

use crate::words::{builder, register, start, who};

fn send(host: &TestHost, body: &Value) -> TestAnswer {
    host.request("POST", "register").json(body).send::<Plugin>()
}

#[test]
fn first_request_is_told_the_stages_and_the_second_registers() {
    let host = start();
    let body = json!({ "username": "ann", "password": "secret" });
    let asked = send(&host, &body);
    assert_eq!(asked.status(), 401);
    assert_eq!(asked.json()["flows"], json!([{ "stages": ["m.login.dummy"] }]));
    assert_eq!(asked.json().get("errcode"), None);
    let mut body = body;
    body["auth"] = json!({ "type": "m.login.dummy", "session": asked.json()["session"] });
    let done = send(&host, &body).ok();
    assert_eq!(done["user_id"], "@ann:hs1");
    assert_eq!(
        who(&done["access_token"]).unwrap().principal.device.as_deref(),
        done["device_id"].as_str()
    );
    let message = &host.messages("accounts.users")[0];
    assert_eq!(
        *message,
        json!({ "user_id": "@ann:hs1", "change": "registered", "by_admin": false })
    );
}

#[test]
fn empty_request_is_told_the_stages() {
    let host = start();
    assert_eq!(host.request("POST", "register").send::<Plugin>().status(), 401);
}

#[test]
fn dummy_stage_passes_without_a_session() {
    let host = start();
    assert_eq!(register(&host, "ann")["device_id"], "DEV");
}

#[test]
fn stage_of_another_session_or_kind_is_asked_again() {
    let host = start();
    let auths = [
        (json!({ "type": "m.login.dummy", "session": "guessed" }), json!("M_UNKNOWN")),
        (json!({ "type": "m.login.recaptcha" }), json!("M_UNRECOGNIZED")),
        (json!({}), Value::Null),
    ];
    for (auth, code) in auths {
        let asked = send(&host, &json!({ "username": "a", "password": "secret", "auth": auth }));
        assert_eq!((asked.status(), &asked.json()["errcode"]), (401, &code));
        assert!(asked.json()["session"].is_string());
    }
}

#[test]
fn session_ends_after_half_an_hour() {
    let host = start();
    let session = send(&host, &json!({})).json()["session"].clone();
    host.advance(30 * 60 * 1000 + 1);
    let auth = json!({ "type": "m.login.dummy", "session": session });
    let asked = send(&host, &json!({ "username": "a", "password": "s", "auth": auth }));
    assert_eq!(asked.status(), 401);
}

#[test]
fn name_is_taken_once_even_if_two_ask_at_the_same_moment() {
    let host = start();
    host.before_next_commit(|host| {
        register(host, "ann");
    });
    let body = json!({ "username": "ann", "password": "x", "auth": { "type": "m.login.dummy" } });
    let taken = (400, "M_USER_IN_USE".to_owned());
    assert_eq!(send(&host, &body).error(), taken);
    assert_eq!(send(&host, &body).error(), taken);
}

#[test]
fn bad_names_are_refused() {
    let host = start();
    for name in ["", "_ann", "a b", "@ann:hs1", "ä", "a:b", &"a".repeat(251)] {
        let answer = send(&host, &json!({ "username": name, "password": "secret" }));
        assert_eq!(answer.error(), (400, "M_INVALID_USERNAME".to_owned()), "{name}");
    }
}

#[test]
fn bad_bodies_are_refused() {
    let host = start();
    let long = "x".repeat(513);
    let cases = [
        (json!({ "username": 1 }), "M_BAD_JSON"),
        (json!([]), "M_BAD_JSON"),
        (json!({ "password": "" }), "M_WEAK_PASSWORD"),
        (json!({ "password": long }), "M_INVALID_PARAM"),
        (json!({ "auth": { "type": "m.login.dummy" } }), "M_MISSING_PARAM"),
        (
            json!({ "password": "x", "device_id": "", "auth": { "type": "m.login.dummy" } }),
            "M_INVALID_PARAM",
        ),
    ];
    for (body, code) in cases {
        assert_eq!(send(&host, &body).error(), (400, code.to_owned()), "{body}");
    }
    let answer = host.request("POST", "register").bytes(b"{\"a\":").send::<Plugin>();
    assert_eq!(answer.error().1, "M_NOT_JSON");
    let answer = host.request("POST", "register").bytes(b"\"\xff\"").send::<Plugin>();
    assert_eq!(answer.error().0, 400);
}

#[test]
fn guests_are_refused() {
    let host = start();
    let answer = host.request("POST", "register").query("kind", "guest").send::<Plugin>();
    assert_eq!(answer.error(), (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned()));
}

#[test]
fn closed_registration_refuses() {
    let host = builder().config("accounts", &json!({ "registration": "closed" })).start();
    assert_eq!(send(&host, &json!({})).error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn wrong_configuration_refuses_to_start() {
    for config in [json!({ "registration": "ajar" }), json!({ "registration": "shared-secret" })] {
        let _host = builder().config("accounts", &config).start();
        assert!(Plugin::start().is_err(), "{config}");
    }
    let _host = start();
    assert_eq!(Plugin::start(), Ok(()));
}

#[test]
fn inhibited_login_gives_no_token() {
    let host = start();
    let body = json!({
        "username": "ann", "password": "x", "inhibit_login": true, "auth": { "type": "m.login.dummy" },
    });
    let done = send(&host, &body).ok();
    assert_eq!((&done["user_id"], done.get("access_token")), (&json!("@ann:hs1"), None));
}

#[test]
fn user_without_a_name_gets_one() {
    let host = start();
    let body = json!({ "password": "x", "auth": { "type": "m.login.dummy" } });
    let first = send(&host, &body).ok();
    assert_ne!(first["user_id"], send(&host, &body).ok()["user_id"]);
}

#[test]
fn availability_is_told() {
    let host = start();
    register(&host, "ann");
    let available = |name: &str| {
        host.request("GET", "register-available").query("username", name).send::<Plugin>()
    };
    assert_eq!(available("bob").ok(), json!({ "available": true }));
    assert_eq!(available("ann").error(), (400, "M_USER_IN_USE".to_owned()));
    assert_eq!(available("Ann").error(), (400, "M_USER_IN_USE".to_owned()));
    assert_eq!(available("a b").error(), (400, "M_INVALID_USERNAME".to_owned()));
    let none = host.request("GET", "register-available").send::<Plugin>();
    assert_eq!(none.error(), (400, "M_MISSING_PARAM".to_owned()));
}

#[test]
fn capitals_become_small_letters() {
    let host = start();
    let body = json!({ "username": "Ann-X", "password": "x", "auth": { "type": "m.login.dummy" } });
    assert_eq!(send(&host, &body).ok()["user_id"], "@ann-x:hs1");
    assert_eq!(send(&host, &body).error(), (400, "M_USER_IN_USE".to_owned()));
}

#[test]
fn what_the_first_request_said_holds_to_the_end() {
    let host = start();
    let body = json!({
        "username": "ann", "password": "secret", "device_id": "FIRST", "initial_device_display_name": "Phone",
    });
    let session = send(&host, &body).json()["session"].clone();
    let done =
        send(&host, &json!({ "auth": { "type": "m.login.dummy", "session": session } })).ok();
    assert_eq!((&done["user_id"], &done["device_id"]), (&json!("@ann:hs1"), &json!("FIRST")));
    let entered = crate::words::log_in(&host, crate::words::by_name("ann", "secret"));
    assert_eq!(entered.status(), 200, "the password is the first request's");
}

#[test]
fn hash_cannot_be_given_in_place_of_a_password() {
    let host = start();
    let body =
        json!({ "username": "ann", "password_hash": "x", "auth": { "type": "m.login.dummy" } });
    assert_eq!(send(&host, &body).error(), (400, "M_MISSING_PARAM".to_owned()));
}

#[test]
fn session_registers_one_user_however_often_it_is_asked() {
    let host = start();
    for body in [json!({ "password": "x" }), json!({ "username": "ann", "password": "x" })] {
        let mut body = body;
        let session = send(&host, &body).json()["session"].clone();
        body["auth"] = json!({ "type": "m.login.dummy", "session": session });
        let first = send(&host, &body).ok();
        let again = send(&host, &body).ok();
        assert_eq!(first["user_id"], again["user_id"]);
        assert_ne!(first["access_token"], again["access_token"]);
        assert_eq!(first["device_id"], again["device_id"]);
        assert!(who(&again["access_token"]).is_ok());
        // The session alone is no password.
        for password in [Value::Null, json!("guess")] {
            let mut thief = json!({ "auth": { "session": session } });
            if !password.is_null() {
                thief["password"] = password;
            }
            assert_eq!(send(&host, &thief).error(), (403, "M_FORBIDDEN".to_owned()));
        }
    }
    let users = host.messages("accounts.users");
    assert_eq!(users.len(), 2, "{users:?}");
}

#[test]
fn answer_to_a_registration_is_had_again_soon_and_while_the_account_is_as_it_was() {
    let host = start();
    let made = |name: &str| {
        let mut body = json!({ "username": name, "password": "secret" });
        let session = send(&host, &body).json()["session"].clone();
        body["auth"] = json!({ "type": "m.login.dummy", "session": session });
        send(&host, &body).ok();
        body
    };
    let forbidden = (403, "M_FORBIDDEN".to_owned());
    let mut other = made("joe");
    send(&host, &other).ok();
    other["device_id"] = json!("ANOTHER");
    assert_eq!(send(&host, &other).error(), forbidden, "another device");
    let changed = made("ann");
    let sid = crate::words::ask(&host, "POST", "password", json!({})).json()["session"].clone();
    // The same password set anew is a change, too.
    let body = json!({ "auth": crate::words::proof(&sid), "new_password": "secret" });
    crate::words::ask(&host, "POST", "password", body).ok();
    assert_eq!(send(&host, &changed).error(), forbidden, "the password was set since");
    let late = made("bob");
    host.advance(10 * 60 * 1000 + 1);
    assert_eq!(send(&host, &late).error(), forbidden, "long ago");
}

#[test]
fn ids_of_sessions_are_not_kept() {
    let host = start();
    let session = send(&host, &json!({})).json()["session"].as_str().unwrap().to_owned();
    let kept = tessera_sdk::storage::query("SELECT session FROM accounts_uia", vec![]).unwrap();
    let kept: Vec<(String,)> = kept.all().unwrap();
    assert_eq!(kept.len(), 1);
    assert_ne!(kept[0].0, session);
}

#[test]
fn application_services_do_not_register_yet() {
    let host = start();
    let body = json!({ "type": "m.login.application_service", "username": "bot" });
    assert_eq!(send(&host, &body).error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn password_may_have_to_be_long() {
    let host = builder().config("accounts", &json!({ "password-length": 8 })).start();
    let body =
        |password: &str| json!({ "password": password, "auth": { "type": "m.login.dummy" } });
    assert_eq!(send(&host, &body("1234567")).error(), (400, "M_WEAK_PASSWORD".to_owned()));
    send(&host, &body("12345678")).ok();
}
