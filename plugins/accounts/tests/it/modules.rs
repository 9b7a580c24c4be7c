//! What accounts asks modules about registration, sessions and standing.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_sdk::hooks::Refusal;
use tessera_sdk::hooks::account_policy::RegistrationObjection;
use tessera_sdk::hooks::rate_limits::Override;
use tessera_test_host::{TestAnswer, TestHost};

use crate::words::{ANN, ask, authenticate, by_name, log_in, proof, register, start, who};

pub(crate) fn refusal(errcode: &str) -> Refusal {
    Refusal { status: 403, errcode: errcode.to_owned(), error: "no".to_owned() }
}

fn send(host: &TestHost, body: &Value) -> TestAnswer {
    host.request("POST", "register").json(body).send::<Plugin>()
}

fn wish(name: &str) -> Value {
    json!({ "username": name, "password": "secret", "auth": { "type": "m.login.dummy" } })
}

#[test]
fn registration_that_a_module_refuses_makes_no_account() {
    let host = start();
    host.services(|services| {
        services.hooks.check_registration = Some(Arc::new(|_, registration, _| {
            assert_eq!(registration.provider, "password");
            match registration.username.as_deref() {
                Some("ann") => Err(RegistrationObjection::Refuse(refusal("ORG_EXAMPLE_NO"))),
                _ => Ok(()),
            }
        }));
    });
    assert_eq!(send(&host, &wish("ann")).error(), (403, "ORG_EXAMPLE_NO".to_owned()));
    assert!(host.messages("accounts.users").is_empty());
    assert_eq!(send(&host, &wish("bob")).ok()["user_id"], "@bob:hs1");
}

#[test]
fn registration_tells_modules_every_request_that_took_part() {
    let host = start();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    host.services(move |services| {
        services.hooks.check_registration = Some(Arc::new(move |_, _, requests| {
            log.lock()
                .unwrap()
                .extend(requests.iter().map(|r| (r.remote.clone(), r.user_agent.clone())));
            Ok(())
        }));
    });
    let mut body = json!({ "username": "ann", "password": "secret" });
    let first = host.request("POST", "register").remote("192.0.2.1").header("user-agent", "one");
    let asked = first.json(&body).send::<Plugin>();
    body["auth"] = json!({ "type": "m.login.dummy", "session": asked.json()["session"] });
    let second = host.request("POST", "register").remote("192.0.2.2").header("user-agent", "two");
    second.json(&body).send::<Plugin>().ok();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(*seen.lock().unwrap(), [pair("192.0.2.1", "one"), pair("192.0.2.2", "two")]);
}

#[test]
fn shadow_banned_user_is_marked_and_not_told() {
    let host = start();
    host.services(|services| {
        services.hooks.check_registration =
            Some(Arc::new(|_, _, _| Err(RegistrationObjection::ShadowBan)));
    });
    let done = register(&host, "ann");
    assert_eq!(who(&done["access_token"]).unwrap().principal.marks, ["shadow-banned"]);
    host.services(|services| services.hooks.check_registration = None);
    let done = register(&host, "bob");
    assert!(who(&done["access_token"]).unwrap().principal.marks.is_empty());
}

#[test]
fn names_of_a_new_user_are_those_that_a_module_chooses() {
    let host = start();
    host.services(|services| {
        services.hooks.new_username = Some(Arc::new(|_, stages, body| {
            assert_eq!(stages, r#"{"m.login.dummy":{}}"#);
            assert!(body.contains("wished") && !body.contains("secret"), "{body}");
            Some("chosen".to_owned())
        }));
        services.hooks.new_displayname = Some(Arc::new(|_, _, _| Some("Chosen".to_owned())));
    });
    assert_eq!(send(&host, &wish("wished")).ok()["user_id"], "@chosen:hs1");
    let profile = ask(&host, "GET", "profile userId=@chosen:hs1", Value::Null).ok();
    assert_eq!(profile["displayname"], "Chosen");
}

#[test]
fn login_that_a_module_refuses_makes_no_session() {
    let host = start();
    register(&host, "ann");
    host.services(|services| {
        services.hooks.check_login = Some(Arc::new(|_, login, _| {
            assert_eq!((login.user.as_str(), login.kind.as_str()), (ANN, "m.login.password"));
            match login.device.as_deref() {
                Some("BAD") => Err(refusal("ORG_EXAMPLE_NO")),
                _ => Ok(()),
            }
        }));
    });
    let mut body = by_name("ann", "secret");
    log_in(&host, body.clone()).ok();
    body["device_id"] = json!("BAD");
    assert_eq!(log_in(&host, body.clone()).error(), (403, "ORG_EXAMPLE_NO".to_owned()));
    // A wrong password is not the module's business.
    body["password"] = json!("x");
    assert_eq!(log_in(&host, body).error(), (403, "M_FORBIDDEN".to_owned()));
    let devices = ask(&host, "GET", "devices", Value::Null).ok();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 2);
}

#[test]
fn account_that_a_module_keeps_is_not_deactivated() {
    let host = start();
    register(&host, "ann");
    host.services(|services| {
        services.hooks.can_deactivate = Some(Arc::new(|_, user, who, by_admin| {
            assert_eq!((user, who.user.as_str(), by_admin), (ANN, ANN, false));
            Err(refusal("ORG_EXAMPLE_STAY"))
        }));
    });
    let session = ask(&host, "POST", "deactivate", json!({})).json()["session"].clone();
    let body = json!({ "auth": proof(&session) });
    let answer = ask(&host, "POST", "deactivate", body.clone());
    assert_eq!(answer.error(), (403, "ORG_EXAMPLE_STAY".to_owned()));
    host.services(|services| services.hooks.can_deactivate = None);
    ask(&host, "POST", "deactivate", body).ok();
}

#[test]
fn expired_account_can_only_log_out() {
    let host = start();
    let token = register(&host, "ann")["access_token"].as_str().unwrap().to_owned();
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    host.services(move |services| {
        services.hooks.is_expired = Some(Arc::new(move |_, user| {
            *count.lock().unwrap() += 1;
            Some(user == ANN)
        }));
    });
    let header = format!("Bearer {token}");
    for _ in 0..2 {
        let denial = authenticate(&header, "").unwrap_err();
        assert_eq!(denial.status, 403);
        assert!(denial.body.contains("ORG_MATRIX_EXPIRED_ACCOUNT"), "{}", denial.body);
    }
    assert_eq!(*asked.lock().unwrap(), 1, "an answer is good for 5 s");
    host.advance(5_001);
    authenticate(&header, "").unwrap_err();
    assert_eq!(*asked.lock().unwrap(), 2);
    let at = |path: &str| crate::words::authenticate_at(path, &header, "");
    for path in ["/_matrix/client/v3/logout", "/_matrix/client/r0/logout/all"] {
        let grant = at(path).unwrap().unwrap();
        assert_eq!((grant.principal.user.as_str(), grant.cache_ms), (ANN, 0), "{path}");
    }
    assert!(at("/_matrix/client/v3/rooms/logout").is_err());
}

#[test]
fn answer_of_a_module_about_a_user_is_kept_five_seconds() {
    let host = start();
    let done = register(&host, "ann");
    host.services(|services| {
        services.hooks.rate_overrides = Some(Arc::new(|_, user| {
            let rate = |class: &str, per_second| Override {
                class: format!("{class} of {user}"),
                per_second,
                burst: 7,
            };
            vec![rate("a", 0.5), rate("b", f64::NAN), rate("c", -1.0)]
        }));
    });
    let grant = who(&done["access_token"]).unwrap();
    assert_eq!(grant.cache_ms, 5_000);
    let rates = &grant.principal.rates;
    assert_eq!(rates.len(), 1, "what is no rate is left out");
    assert_eq!(
        (rates[0].class.as_str(), rates[0].per_second, rates[0].burst),
        ("a of @ann:hs1", 0.5, 7)
    );
}

#[test]
fn sessions_and_account_data_are_told_in_the_commit() {
    let host = start();
    register(&host, "ann");
    ask(&host, "PUT", "account-data-set userId=@ann:hs1 type=org.x", json!({ "a": 1 })).ok();
    ask(&host, "POST", "logout", json!({})).ok();
    let mut body = by_name("ann", "secret");
    body["device_id"] = json!("TWO");
    log_in(&host, body).ok();
    ask(&host, "POST", "logout-all", json!({})).ok();
    let session = |change: &str, device: Value| json!({ "user_id": ANN, "change": change, "device_id": device });
    let mut expected = vec![
        session("login", json!("DEV")),
        session("logout", json!("DEV")),
        session("login", json!("TWO")),
        session("logout", Value::Null),
    ];
    expected[0]["kind"] = json!("register");
    expected[2]["kind"] = json!("m.login.password");
    assert_eq!(host.messages("accounts.sessions"), expected);
    let data = json!({ "user_id": ANN, "room_id": null, "type": "org.x", "content": { "a": 1 } });
    assert_eq!(host.messages("accounts.data"), [data]);
}
