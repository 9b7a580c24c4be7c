//! Registration with stages.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_sdk::fetch;
use tessera_test_host::{TestAnswer, TestHost};

use crate::words::{ANN, ask, builder, register, start};

fn send(host: &TestHost, body: &Value) -> TestAnswer {
    host.request("POST", "register").json(body).send::<Plugin>()
}

fn with(host: &TestHost, session: &Value, auth: Value) -> TestAnswer {
    let mut auth = auth;
    auth["session"] = session.clone();
    send(host, &json!({ "username": "bob", "password": "secret", "auth": auth }))
}

fn admin(host: &TestHost, method: &str, route: &str, body: Value) -> TestAnswer {
    let mut words = route.split(' ');
    let mut request = host.request(method, words.next().unwrap()).user(ANN).mark("admin");
    for word in words {
        let (name, value) = word.split_once('=').unwrap();
        request = request.param(name, value);
    }
    if !body.is_null() {
        request = request.json(&body);
    }
    request.send::<Plugin>()
}

fn names(flow: &Value) -> Vec<&str> {
    flow["stages"].as_array().unwrap().iter().map(|stage| stage.as_str().unwrap()).collect()
}

#[test]
fn stages_are_passed_in_order_and_remembered() {
    let policy = json!({ "tos": { "version": "1", "en": { "name": "T", "url": "https://x/t" } } });
    let config = json!({ "registration-token": true, "terms": policy });
    let host = builder().config("accounts", &config).start();
    admin(&host, "POST", "admin-token-new", json!({ "token": "abc" })).ok();
    let asked = send(&host, &json!({ "username": "bob", "password": "secret" })).json();
    let expected = ["m.login.registration_token", "m.login.terms"];
    assert_eq!(names(&asked["flows"][0]), expected);
    assert_eq!(asked["params"]["m.login.terms"]["policies"]["tos"]["version"], "1");
    let session = &asked["session"];
    let early = with(&host, session, json!({ "type": "m.login.terms" }));
    assert_eq!((early.status(), &early.json()["errcode"]), (401, &json!("M_FORBIDDEN")));
    let wrong = with(&host, session, json!({ "type": "m.login.registration_token", "token": "x" }));
    assert_eq!((wrong.status(), &wrong.json()["errcode"]), (401, &json!("M_UNAUTHORIZED")));
    let half =
        with(&host, session, json!({ "type": "m.login.registration_token", "token": "abc" }));
    assert_eq!((half.status(), &half.json()["completed"]), (401, &json!([expected[0]])));
    assert_eq!(half.json().get("errcode"), None);
    // A stage that is passed is not tried again.
    let half = with(&host, session, json!({ "type": "m.login.registration_token", "token": "x" }));
    assert_eq!(half.json()["completed"], json!([expected[0]]));
    let done = with(&host, session, json!({ "type": "m.login.terms" })).ok();
    assert_eq!(done["user_id"], "@bob:hs1");
    let token = admin(&host, "GET", "admin-token token=abc", Value::Null).ok();
    assert_eq!((&token["completed"], &token["pending"]), (&json!(1), &json!(0)));
}

#[test]
fn session_that_passed_all_stages_may_choose_another_name() {
    let config = json!({ "registration-token": true });
    let host = builder().config("accounts", &config).start();
    admin(&host, "POST", "admin-token-new", json!({ "token": "abc", "uses_allowed": 1 })).ok();
    let first = send(&host, &json!({ "username": "bob", "password": "x" })).json();
    host.before_next_commit(|_| {});
    let auth = json!({ "type": "m.login.registration_token", "token": "abc", "session": first["session"] });
    let done = send(&host, &json!({ "username": "carl", "password": "x", "auth": auth })).ok();
    assert_eq!(done["user_id"], "@carl:hs1");
}

#[test]
fn token_is_good_as_often_as_it_says() {
    let host = builder().config("accounts", &json!({ "registration-token": true })).start();
    admin(&host, "POST", "admin-token-new", json!({ "token": "abc", "uses_allowed": 1 })).ok();
    let valid = |host: &TestHost| {
        host.request("GET", "token-validity").query("token", "abc").send::<Plugin>().ok()["valid"]
            .clone()
    };
    assert_eq!(valid(&host), true);
    let auth = json!({ "type": "m.login.registration_token", "token": "abc" });
    let body = |name: &str| json!({ "username": name, "password": "x", "auth": auth });
    send(&host, &body("bob")).ok();
    assert_eq!(valid(&host), false);
    let asked = send(&host, &body("carl"));
    assert_eq!((asked.status(), &asked.json()["errcode"]), (401, &json!("M_UNAUTHORIZED")));
}

#[test]
fn last_use_of_a_token_is_had_by_one() {
    let policy = json!({ "tos": { "version": "1", "en": { "name": "T", "url": "https://x/t" } } });
    let config = json!({ "registration-token": true, "terms": policy });
    let host = builder().config("accounts", &config).start();
    admin(&host, "POST", "admin-token-new", json!({ "token": "abc", "uses_allowed": 1 })).ok();
    let token = json!({ "type": "m.login.registration_token", "token": "abc" });
    let one = send(&host, &json!({})).json()["session"].clone();
    assert_eq!(with(&host, &one, token.clone()).json()["completed"].as_array().unwrap().len(), 1);
    // It is spoken for while that session is open.
    let two = send(&host, &json!({})).json()["session"].clone();
    assert_eq!(with(&host, &two, token).json()["errcode"], "M_UNAUTHORIZED");
    let shown = admin(&host, "GET", "admin-token token=abc", Value::Null).ok();
    assert_eq!(shown["pending"], 1);
    // An administrator takes it away meanwhile.
    admin(&host, "DELETE", "admin-token-delete token=abc", Value::Null).ok();
    let late = with(&host, &one, json!({ "type": "m.login.terms" }));
    assert_eq!(late.error(), (401, "M_UNAUTHORIZED".to_owned()));
}

#[test]
fn tokens_are_made_listed_changed_and_deleted_by_administrators() {
    let host = start();
    let made = admin(&host, "POST", "admin-token-new", json!({ "length": 20 })).ok();
    let token = made["token"].as_str().unwrap().to_owned();
    assert_eq!(
        (token.len(), &made["uses_allowed"], &made["pending"]),
        (20, &Value::Null, &json!(0))
    );
    let later = host.now_ms() + 1000;
    let path = format!("admin-token-update token={token}");
    let changed =
        admin(&host, "PUT", &path, json!({ "uses_allowed": 3, "expiry_time": later })).ok();
    assert_eq!((&changed["uses_allowed"], &changed["expiry_time"]), (&json!(3), &json!(later)));
    let listed = |valid: &str| {
        let request = host.request("GET", "admin-tokens").user(ANN).mark("admin");
        let answer = request.query("valid", valid).send::<Plugin>().ok();
        answer["registration_tokens"].as_array().unwrap().len()
    };
    assert_eq!((listed("true"), listed("false")), (1, 0));
    host.advance(1001);
    assert_eq!((listed("true"), listed("false")), (0, 1));
    let bad = [
        json!({ "token": "a b" }),
        json!({ "token": "" }),
        json!({ "token": token }),
        json!({ "length": 65 }),
        json!({ "uses_allowed": -1 }),
        json!({ "expiry_time": 1 }),
    ];
    for body in bad {
        let answer = admin(&host, "POST", "admin-token-new", body.clone());
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()), "{body}");
    }
    for n in 0..40 {
        admin(&host, "POST", "admin-token-new", json!({ "token": format!("t{n}") })).ok();
    }
    let _ = host.calls();
    assert_eq!(listed("true"), 40);
    assert!(host.calls() < 5, "one look for all");
    let gone = format!("admin-token-delete token={token}");
    admin(&host, "DELETE", &gone, Value::Null).ok();
    assert_eq!(admin(&host, "DELETE", &gone, Value::Null).error().0, 404);
    assert_eq!(admin(&host, "PUT", &path, json!({})).error().0, 404);
    let answer = ask(&host, "GET", "admin-tokens", Value::Null);
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn validity_is_not_told_where_nobody_registers() {
    let host = builder().config("accounts", &json!({ "registration": "closed" })).start();
    let answer = host.request("GET", "token-validity").query("token", "x").send::<Plugin>();
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
    let host = start();
    let answer = host.request("GET", "token-validity").send::<Plugin>();
    assert_eq!(answer.error(), (400, "M_MISSING_PARAM".to_owned()));
}

#[test]
fn captcha_is_what_the_verifier_says() {
    let captcha = json!({
        "public-key": "PUBLIC", "private-key": "PRIVATE", "verify-url": "http://verify/it",
    });
    let host = builder().config("accounts", &json!({ "recaptcha": captcha })).start();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, answers) = (asked.clone(), [false, true]);
    host.services(move |services| {
        services.fetch = Arc::new(move |request| {
            let fetch::Body::Bytes(body) = &request.body else { panic!("no body") };
            let mut seen = seen.lock().unwrap();
            seen.push(format!("{} {}", request.url, String::from_utf8(body.clone()).unwrap()));
            let said = json!({ "success": answers[seen.len() - 1] }).to_string().into_bytes();
            Ok(fetch::Response { status: 200, headers: vec![], body: fetch::Body::Bytes(said) })
        });
    });
    let first = send(&host, &json!({})).json();
    assert_eq!(first["params"]["m.login.recaptcha"]["public_key"], "PUBLIC");
    let session = &first["session"];
    let none = with(&host, session, json!({ "type": "m.login.recaptcha" }));
    assert_eq!((none.status(), &none.json()["errcode"]), (401, &json!("M_CAPTCHA_NEEDED")));
    let auth = json!({ "type": "m.login.recaptcha", "response": "a b&c" });
    let wrong = with(&host, session, auth.clone());
    assert_eq!((wrong.status(), &wrong.json()["errcode"]), (401, &json!("M_CAPTCHA_INVALID")));
    assert_eq!(with(&host, session, auth).ok()["user_id"], "@bob:hs1");
    let expected = "http://verify/it secret=PRIVATE&response=a%20b%26c&remoteip=127.0.0.1";
    assert_eq!(asked.lock().unwrap()[0], expected);
}

#[test]
fn captcha_that_nobody_wants_can_be_solved_and_one_that_cannot_be_checked_is_a_503() {
    let captcha = json!({ "public-key": "P", "private-key": "S", "required": false });
    let host = builder().config("accounts", &json!({ "recaptcha": captcha })).start();
    let auth = json!({ "type": "m.login.recaptcha", "response": "r" });
    let body = json!({ "username": "bob", "password": "x", "auth": auth });
    assert_eq!(send(&host, &body).error().0, 503);
    host.services(|services| {
        services.fetch = Arc::new(|_| {
            let body = fetch::Body::Bytes(b"{\"success\":true}".to_vec());
            Ok(fetch::Response { status: 200, headers: vec![], body })
        });
    });
    let asked = send(&host, &body);
    assert_eq!(
        (asked.status(), asked.json()["completed"].clone()),
        (401, json!(["m.login.recaptcha"]))
    );
    assert_eq!(asked.json()["flows"], json!([{ "stages": ["m.login.dummy"] }]));
}

#[test]
fn terms_need_a_version_and_a_text() {
    use tessera_sdk::bindings::lifecycle::exports::tessera::plugin::lifecycle::Guest as _;
    let _host =
        builder().config("accounts", &json!({ "terms": { "tos": { "version": "1" } } })).start();
    assert!(Plugin::start().unwrap_err().contains("terms.tos"));
    let _host = builder().config("accounts", &json!({ "base-url": "example.org" })).start();
    assert!(Plugin::start().unwrap_err().contains("base-url"));
}

#[test]
fn password_hash_of_an_account_that_is_there_is_not_for_others() {
    let host = start();
    register(&host, "ann");
    let asked = send(&host, &json!({ "username": "ann", "password": "other" }));
    assert_eq!(asked.error(), (400, "M_USER_IN_USE".to_owned()));
}

#[test]
fn stages_may_be_passed_on_pages_of_the_server() {
    let policy = json!({ "tos": { "version": "1", "en": { "name": "T<", "url": "https://x/t" } } });
    let config = json!({ "registration-token": true, "terms": policy });
    let host = builder().config("accounts", &config).start();
    admin(&host, "POST", "admin-token-new", json!({ "token": "abc" })).ok();
    let body = json!({ "username": "bob", "password": "secret" });
    let session = send(&host, &body).json()["session"].as_str().unwrap().to_owned();
    let page = |method: &str, stage: &str, session: &str, form: &str| {
        let route = if method == "GET" { "auth-page" } else { "auth-page-submit" };
        let request = host.request(method, route).param("authType", stage);
        request.query("session", session).bytes(form.as_bytes()).send::<Plugin>()
    };
    let (token, terms) = ("m.login.registration_token", "m.login.terms");
    assert_eq!(page("GET", token, &session, "").status(), 200);
    assert_eq!(page("GET", token, "guess", "").status(), 400);
    assert_eq!(page("GET", "m.login.password", &session, "").error().0, 404);
    // Not in order, and not with a wrong token.
    page("POST", terms, &session, "");
    page("POST", token, &session, "token=wrong");
    let auth = json!({ "auth": { "session": session } });
    assert_eq!(send(&host, &auth).json()["completed"], json!([]));
    let done = page("POST", token, &session, "token=abc");
    assert!(done.header("content-security-policy").unwrap().contains("script-src 'nonce-"));
    assert_eq!(send(&host, &auth).json()["completed"], json!([token]));
    page("POST", terms, &session, "");
    assert_eq!(send(&host, &auth).ok()["user_id"], "@bob:hs1");
}
