//! Modules that check credentials.

use std::sync::Arc;

use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_sdk::hooks::login::{Accepted, Attempt, LoginType, Verdict};
use tessera_test_host::{TestAnswer, TestHost};

use crate::words::{ANN, ask, by_name, log_in, proof, register, start, who};

const KIND: &str = "org.example.card";

fn with(check: impl Fn(&Attempt) -> Option<Verdict> + Send + Sync + 'static) -> TestHost {
    let host = start();
    host.services(|services| {
        services.hooks.login_types = Some(Arc::new(|_| {
            let kind = |kind: &str| LoginType { kind: kind.to_owned(), fields: Vec::new() };
            vec![kind(KIND), kind("m.login.password")]
        }));
        services.hooks.check_auth = Some(Arc::new(move |_, attempt| check(attempt)));
    });
    host
}

fn accept(user: &str) -> Option<Verdict> {
    Some(Verdict::Accept(Accepted {
        user: user.to_owned(),
        displayname: Some("Card".to_owned()),
        extra: Some(r#"{"org.example.card": {"left": 3}, "user_id": "@evil:hs1"}"#.to_owned()),
    }))
}

fn card(host: &TestHost) -> TestAnswer {
    let body = json!({ "type": KIND, "number": 7, "device_id": "DEV" });
    host.request("POST", "login").json(&body).send::<Plugin>()
}

#[test]
fn types_of_modules_are_shown_beside_the_servers_own() {
    let host = with(|_| None);
    let flows = ask(&host, "GET", "login-types", Value::Null).ok();
    let kinds: Vec<&str> =
        flows["flows"].as_array().unwrap().iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["m.login.password", "m.login.token", KIND]);
}

#[test]
fn user_whom_a_module_accepts_is_made_and_logged_in() {
    let host = with(|attempt| {
        assert_eq!((attempt.kind.as_str(), attempt.user.as_deref()), (KIND, None));
        assert!(attempt.fields.contains("\"number\":7"), "{}", attempt.fields);
        accept("@card:hs1")
    });
    let done = card(&host).ok();
    assert_eq!(done["user_id"], "@card:hs1", "the server's own fields are not a module's");
    assert_eq!(done["org.example.card"]["left"], 3);
    assert_eq!(who(&done["access_token"]).unwrap().principal.user, "@card:hs1");
    let profile = ask(&host, "GET", "profile userId=@card:hs1", Value::Null).ok();
    assert_eq!(profile["displayname"], "Card");
    assert_eq!(host.messages("accounts.users").len(), 1);
    // The second time there is an account.
    card(&host).ok();
    assert_eq!(host.messages("accounts.users").len(), 1);
}

#[test]
fn identifier_of_another_kind_is_told_to_modules() {
    let host = with(|attempt| {
        let threepid = attempt.threepid.as_ref()?;
        assert_eq!((attempt.user.as_deref(), threepid.medium.as_str()), (None, "email"));
        (threepid.address == "ann@example.org").then(|| accept(ANN)).flatten()
    });
    let body = |address: &str| {
        json!({
            "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": address },
            "password": "x",
        })
    };
    assert_eq!(log_in(&host, body("Ann@Example.org")).ok()["user_id"], ANN);
    assert_eq!(log_in(&host, body("bob@example.org")).error().0, 403);
}

#[test]
fn credentials_that_a_module_rejects_are_wrong_whatever_others_say() {
    let host = with(|attempt| match attempt.user.as_deref() {
        Some(ANN) => Some(Verdict::Reject),
        _ => None,
    });
    register(&host, "ann");
    register(&host, "bob");
    let refused = log_in(&host, by_name("ann", "secret"));
    assert_eq!(refused.error(), (403, "M_FORBIDDEN".to_owned()));
    log_in(&host, by_name("bob", "secret")).ok();
}

#[test]
fn type_of_a_module_without_its_opinion_is_forbidden_and_an_unknown_one_unknown() {
    let host = with(|_| None);
    assert_eq!(card(&host).error(), (403, "M_FORBIDDEN".to_owned()));
    let other = host.request("POST", "login").json(&json!({ "type": "org.other" }));
    assert_eq!(other.send::<Plugin>().error(), (400, "M_UNKNOWN".to_owned()));
}

#[test]
fn user_of_another_server_or_with_an_impossible_name_is_not_made() {
    let host = with(|_| accept("@ann:elsewhere"));
    assert_eq!(card(&host).status(), 500);
    let host = with(|_| accept("@UPPER:hs1"));
    assert_eq!(card(&host).error(), (400, "M_INVALID_USERNAME".to_owned()));
    assert!(host.messages("accounts.users").is_empty());
}

#[test]
fn deactivated_user_stays_out_even_if_a_module_accepts() {
    let host = start();
    register(&host, "ann");
    let session = ask(&host, "POST", "deactivate", json!({})).json()["session"].clone();
    ask(&host, "POST", "deactivate", json!({ "auth": proof(&session) })).ok();
    host.services(|services| services.hooks.check_auth = Some(Arc::new(|_, _| accept(ANN))));
    assert_eq!(card(&host).error(), (403, "M_USER_DEACTIVATED".to_owned()));
}

#[test]
fn tries_count_before_a_module_is_asked() {
    let host = with(|_| Some(Verdict::Reject));
    host.limit("failed-logins", 2);
    let codes = [403, 403, 429].map(|status| (status, log_in(&host, by_name("ann", "x")).status()));
    assert!(codes.iter().all(|(expected, got)| expected == got), "{codes:?}");
}

#[test]
fn tries_with_a_third_party_identifier_count_against_it_from_wherever_they_come() {
    let host = with(|_| Some(Verdict::Reject));
    host.limit("failed-logins", 2);
    let try_from = |remote: &str, address: &str| {
        let body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": address },
            "password": "x",
        });
        host.request("POST", "login").remote(remote).json(&body).send::<Plugin>().status()
    };
    assert_eq!(try_from("192.0.2.1", "ann@example.org"), 403);
    assert_eq!(try_from("192.0.2.2", "Ann@Example.org"), 403);
    assert_eq!(try_from("192.0.2.3", "ann@example.org"), 429);
    assert_eq!(try_from("192.0.2.3", "bob@example.org"), 403);
}

#[test]
fn fields_of_the_specification_are_not_a_modules_even_if_the_answer_lacks_them() {
    let names = ["home_server", "device_id", "access_token", "refresh_token", "expires_in_ms"];
    let mut extra =
        json!({ "user_id": "@evil:hs1", "well_known": { "m.homeserver": {} }, "org.example.x": 1 });
    for name in names {
        extra[name] = json!("evil");
    }
    let extra = extra.to_string();
    let host = with(move |_| {
        Some(Verdict::Accept(Accepted {
            user: ANN.to_owned(),
            displayname: None,
            extra: Some(extra.clone()),
        }))
    });
    let done = card(&host).ok();
    assert_eq!((&done["user_id"], &done["org.example.x"]), (&json!(ANN), &json!(1)));
    for name in ["well_known", "refresh_token", "expires_in_ms"] {
        assert!(done.get(name).is_none(), "{name}: {done}");
    }
    assert!(!done.to_string().contains("evil"), "{done}");
}

#[test]
fn password_stage_asks_modules_first() {
    let host =
        with(|attempt| attempt.fields.contains("from the module").then(|| accept(ANN)).flatten());
    register(&host, "ann");
    let body = |password: &str| {
        let mut auth = proof(&Value::Null);
        auth["password"] = json!(password);
        auth.as_object_mut().unwrap().remove("session");
        json!({ "auth": auth })
    };
    assert_eq!(ask(&host, "DELETE", "device-delete deviceId=X", body("wrong")).status(), 401);
    ask(&host, "DELETE", "device-delete deviceId=X", body("from the module")).ok();
    ask(&host, "DELETE", "device-delete deviceId=X", body("secret")).ok();
}
