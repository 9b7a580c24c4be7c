//! Addresses: mails, links, what they are good for.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_sdk::hooks::{Refusal, Threepid};
use tessera_sdk::http::decode_query;
use tessera_sdk::mail;
use tessera_test_host::{TestAnswer, TestHost};

use crate::words::{ANN, ask, ask_as, builder, log_in, proof, register};

pub(crate) type Box = Arc<Mutex<Vec<mail::Message>>>;

pub(crate) fn start(config: Value) -> (TestHost, Box) {
    let host = builder().config("accounts", &config).start();
    let mails = Box::default();
    let into = mails.clone();
    host.services(move |services| {
        services.mail = Arc::new(move |message| {
            into.lock().unwrap().push(message.clone());
            Ok(())
        });
    });
    (host, mails)
}

pub(crate) fn request_token(host: &TestHost, route: &str, email: &str, attempt: u64) -> TestAnswer {
    let body = json!({ "client_secret": "s3cr3t", "email": email, "send_attempt": attempt });
    host.request("POST", route).json(&body).send::<Plugin>()
}

/// The query of the link in the last mail.
fn link(mails: &Box) -> Vec<(String, String)> {
    let mails = mails.lock().unwrap();
    let text = &mails.last().unwrap().text;
    let url = text.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
    let (path, query) = url.split_once('?').unwrap();
    assert_eq!(path, "https://hs1/_tessera/accounts/email");
    decode_query(query)
}

fn press(host: &TestHost, method: &str, query: &[(String, String)]) -> TestAnswer {
    let route = if method == "GET" { "email-link" } else { "email-confirm" };
    let mut request = host.request(method, route);
    for (name, value) in query {
        request = request.query(name, value);
    }
    request.send::<Plugin>()
}

/// Proves an address for adding; the session.
fn proved(host: &TestHost, mails: &Box, route: &str, email: &str) -> Value {
    let sid = request_token(host, route, email, 1).ok()["sid"].clone();
    assert_eq!(press(host, "POST", &link(mails)).status(), 200);
    sid
}

fn add(host: &TestHost, user: &str, sid: &Value) -> TestAnswer {
    let body = json!({ "three_pid_creds": { "sid": sid, "client_secret": "s3cr3t" } });
    ask_as(host, user, "DEV", "POST", "threepids-add-old", body)
}

pub(crate) fn error(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn address_is_added_after_its_link_was_confirmed() {
    let (host, mails) = start(json!({}));
    register(&host, "ann");
    let sid = request_token(&host, "threepids-email", "Ann@Example.org", 1).ok()["sid"].clone();
    assert_eq!(mails.lock().unwrap()[0].to, "ann@example.org");
    assert!(mails.lock().unwrap()[0].html.as_ref().unwrap().contains("href=\"https://hs1/"));
    assert_eq!(add(&host, ANN, &sid).error(), error(403, "M_THREEPID_AUTH_FAILED"));
    let link = link(&mails);
    let page = press(&host, "GET", &link);
    assert_eq!((page.status(), page.header("x-frame-options")), (200, Some("DENY")));
    assert_eq!(add(&host, ANN, &sid).error().0, 403, "who only looks confirms nothing");
    press(&host, "POST", &link);
    let body = json!({ "sid": sid, "client_secret": "s3cr3t" });
    let asked = ask(&host, "POST", "threepids-add", body.clone());
    assert_eq!(asked.status(), 401);
    let mut body = body;
    body["auth"] = proof(&asked.json()["session"]);
    ask(&host, "POST", "threepids-add", body.clone()).ok();
    let listed = ask(&host, "GET", "threepids", Value::Null).ok();
    let now = host.now_ms();
    let expected = json!([{
        "medium": "email", "address": "ann@example.org", "validated_at": now, "added_at": now,
    }]);
    assert_eq!(listed["threepids"], expected);
    let told = json!({ "user_id": ANN, "change": "added", "medium": "email", "address": "ann@example.org" });
    assert_eq!(host.messages("accounts.threepids"), [told]);
    // A proof is good once.
    assert_eq!(
        ask(&host, "POST", "threepids-add", body).error(),
        error(400, "M_THREEPID_AUTH_FAILED")
    );
}

#[test]
fn address_logs_its_user_in_until_it_is_deleted() {
    let (host, mails) = start(json!({}));
    register(&host, "ann");
    let sid = proved(&host, &mails, "threepids-email", "ann@example.org");
    add(&host, ANN, &sid).ok();
    let identifier =
        json!({ "type": "m.id.thirdparty", "medium": "email", "address": "ANN@example.org" });
    let new = json!({ "identifier": identifier, "password": "secret" });
    assert_eq!(log_in(&host, new.clone()).ok()["user_id"], ANN);
    let old = json!({ "medium": "email", "address": "ann@example.org", "password": "secret" });
    assert_eq!(log_in(&host, old).ok()["user_id"], ANN);
    let wrong = json!({ "identifier": identifier, "password": "wrong" });
    assert_eq!(log_in(&host, wrong).error(), error(403, "M_FORBIDDEN"));
    let phone = json!({ "type": "m.id.phone", "country": "GB", "phone": "07700 900001" });
    let phone = json!({ "identifier": phone, "password": "secret" });
    assert_eq!(log_in(&host, phone).error(), error(403, "M_FORBIDDEN"));
    let odd = json!({ "identifier": { "type": "m.id.odd" }, "password": "secret" });
    assert_eq!(log_in(&host, odd).error(), error(400, "M_UNKNOWN"));
    let body = json!({ "medium": "email", "address": "Ann@example.org" });
    let gone = ask(&host, "POST", "threepids-delete", body).ok();
    assert_eq!(gone, json!({ "id_server_unbind_result": "no-support" }));
    assert_eq!(log_in(&host, new).error(), error(403, "M_FORBIDDEN"));
    let changes: Vec<Value> =
        host.messages("accounts.threepids").iter().map(|it| it["change"].clone()).collect();
    assert_eq!(changes, ["added", "removed"]);
}

#[test]
fn address_of_somebody_is_not_added_to_another() {
    let (host, mails) = start(json!({ "hide-addresses": false }));
    register(&host, "ann");
    register(&host, "bob");
    let sid = proved(&host, &mails, "threepids-email", "a@example.org");
    add(&host, ANN, &sid).ok();
    for route in ["threepids-email", "register-email"] {
        let answer = request_token(&host, route, "a@example.org", 2);
        assert_eq!(answer.error(), error(400, "M_THREEPID_IN_USE"));
    }
    let unknown = request_token(&host, "password-email", "b@example.org", 1);
    assert_eq!(unknown.error(), error(400, "M_THREEPID_NOT_FOUND"));
    // Proved by both before either added it.
    let sid = proved(&host, &mails, "threepids-email", "c@example.org");
    let other = json!({ "client_secret": "other", "email": "c@example.org", "send_attempt": 1 });
    let other = host.request("POST", "threepids-email").json(&other).send::<Plugin>().ok();
    press(&host, "POST", &link(&mails));
    add(&host, "@bob:hs1", &sid).ok();
    let body = json!({ "three_pid_creds": { "sid": other["sid"], "client_secret": "other" } });
    let late = ask(&host, "POST", "threepids-add-old", body);
    assert_eq!(late.error(), error(400, "M_THREEPID_IN_USE"));
}

#[test]
fn who_asks_is_not_told_whose_an_address_is() {
    let (host, mails) = start(json!({}));
    register(&host, "ann");
    let sid = proved(&host, &mails, "threepids-email", "a@example.org");
    add(&host, ANN, &sid).ok();
    let known = request_token(&host, "register-email", "a@example.org", 1).ok();
    assert!(known["sid"].is_string());
    let told = mails.lock().unwrap().last().unwrap().clone();
    assert!(told.subject.contains("You have an account"), "{told:?}");
    let unknown = request_token(&host, "password-email", "nobody@example.org", 1).ok();
    assert!(unknown["sid"].is_string());
    let told = mails.lock().unwrap().last().unwrap().clone();
    assert!(told.subject.contains("No account"), "{told:?}");
    // What goes wrong with the mail tells as little.
    host.services(|services| {
        services.mail = Arc::new(|_| Err(mail::Error::Refused("550 <a@example.org>".to_owned())));
    });
    for email in ["a@example.org", "nobody@example.org"] {
        let answer = request_token(&host, "password-email", email, 2);
        assert_eq!(answer.error(), error(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"));
    }
    assert!(!host.logs().iter().any(|line| line.contains("example.org")), "{:?}", host.logs());
}

#[test]
fn mail_is_sent_again_only_for_a_new_attempt_and_voids_the_old_link() {
    let (host, mails) = start(json!({}));
    let first = request_token(&host, "register-email", "a@example.org", 1).ok();
    let old = link(&mails);
    let again = request_token(&host, "register-email", "a@example.org", 1).ok();
    assert_eq!((&again, mails.lock().unwrap().len()), (&first, 1));
    let second = request_token(&host, "register-email", "a@example.org", 2).ok();
    assert_eq!((&second, mails.lock().unwrap().len()), (&first, 2));
    assert_eq!(press(&host, "POST", &old).status(), 400);
    assert_eq!(press(&host, "POST", &link(&mails)).status(), 200);
    host.advance(60 * 60 * 1000 + 1);
    assert_eq!(press(&host, "POST", &link(&mails)).status(), 400, "an hour is over");
}

#[test]
fn link_without_its_secrets_proves_nothing() {
    let (host, mails) = start(json!({}));
    let sid = request_token(&host, "register-email", "a@example.org", 1).ok()["sid"].clone();
    let good = link(&mails);
    for at in 0..3 {
        let mut bad = good.clone();
        bad[at].1.push('x');
        assert_eq!(press(&host, "POST", &bad).status(), 400);
        assert_eq!(press(&host, "GET", &bad).status(), 400);
    }
    // Proved for another purpose.
    press(&host, "POST", &good);
    register(&host, "ann");
    assert_eq!(add(&host, ANN, &sid).error(), error(403, "M_THREEPID_AUTH_FAILED"));
}

#[test]
fn next_link_is_where_the_operator_allows() {
    let (host, mails) =
        start(json!({ "next-link-hosts": ["app.example.org"], "mail-links": "at-once" }));
    let body = |next: &str| json!({ "client_secret": "s", "email": "a@example.org", "send_attempt": 1, "next_link": next });
    for next in
        ["javascript:alert(1)", "https://evil.example.org/", "https://app.example.org@evil/", "x"]
    {
        let answer = host.request("POST", "register-email").json(&body(next)).send::<Plugin>();
        assert_eq!(answer.error(), error(400, "M_INVALID_PARAM"), "{next}");
    }
    let next = "https://app.example.org/done?x=1";
    host.request("POST", "register-email").json(&body(next)).send::<Plugin>().ok();
    let page = press(&host, "GET", &link(&mails));
    assert_eq!((page.status(), page.header("location")), (302, Some(next)));
    // A form's answer must not redirect: browsers hold it against `form-action`.
    let page = press(&host, "POST", &link(&mails));
    assert_eq!((page.status(), page.header("location")), (200, None));
    let html = page.text();
    assert!(html.contains(&format!("content=\"0; url={next}\"")), "{html}");
    assert!(html.contains(&format!("<a href=\"{next}\">")), "{html}");
}

#[test]
fn next_link_leads_to_the_servers_own_host_unless_the_operator_says_more() {
    let ask = |config: Value, next: &str| {
        let (host, _mails) = start(config);
        let body = json!({ "client_secret": "s", "email": "a@example.org", "send_attempt": 1, "next_link": next });
        host.request("POST", "password-email").json(&body).send::<Plugin>().status()
    };
    assert_eq!(ask(json!({}), "https://evil.example.org/"), 400);
    assert_eq!(ask(json!({}), "https://HS1/done"), 200);
    let base = json!({ "base-url": "https://m.example.org:8448/x" });
    assert_eq!(ask(base.clone(), "https://m.example.org:8448/done"), 200);
    assert_eq!(ask(base, "https://hs1/done"), 400);
    assert_eq!(ask(json!({ "next-link-hosts": ["*"] }), "https://evil.example.org/"), 200);
    assert_eq!(ask(json!({ "next-link-hosts": [] }), "https://evil.example.org/"), 400);
}

#[test]
fn secrets_of_proofs_are_not_kept() {
    let (host, _mails) = start(json!({}));
    request_token(&host, "register-email", "a@example.org", 1).ok();
    let sql = "SELECT client_secret FROM accounts_validations";
    let kept: Vec<(String,)> = tessera_sdk::storage::query(sql, vec![]).unwrap().all().unwrap();
    assert_eq!(kept.len(), 1);
    assert_ne!(kept[0].0, "s3cr3t");
}

#[test]
fn bad_requests_for_mail_are_refused() {
    let (host, _mails) = start(json!({}));
    let good = json!({ "client_secret": "s", "email": "a@example.org", "send_attempt": 1 });
    let cases = [
        ("client_secret", Value::Null, "M_MISSING_PARAM"),
        ("client_secret", json!("a b"), "M_INVALID_PARAM"),
        ("client_secret", json!("x".repeat(256)), "M_INVALID_PARAM"),
        ("email", Value::Null, "M_MISSING_PARAM"),
        ("email", json!("nobody"), "M_INVALID_PARAM"),
        ("send_attempt", Value::Null, "M_MISSING_PARAM"),
        ("send_attempt", json!("1"), "M_BAD_JSON"),
    ];
    for (name, value, code) in cases {
        let mut body = good.clone();
        body[name] = value;
        let answer = host.request("POST", "register-email").json(&body).send::<Plugin>();
        assert_eq!(answer.error(), error(400, code), "{body}");
    }
    let answer = host.request("POST", "msisdn").json(&good).send::<Plugin>();
    assert_eq!(answer.error(), error(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"));
}

#[test]
fn without_a_relay_there_is_no_mail_and_the_same_attempt_may_be_made_again() {
    let (host, mails) = start(json!({}));
    let works = host.clone();
    host.services(|services| {
        services.mail = Arc::new(|_| Err(mail::Error::Refused("no relay".to_owned())));
    });
    let answer = request_token(&host, "register-email", "a@example.org", 1);
    assert_eq!(answer.error(), error(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"));
    host.services(|services| {
        services.mail = Arc::new(|_| Err(mail::Error::Unavailable("busy".to_owned())));
    });
    assert_eq!(request_token(&host, "register-email", "a@example.org", 1).error().0, 503);
    let into = mails.clone();
    works.services(move |services| {
        services.mail = Arc::new(move |message| {
            into.lock().unwrap().push(message.clone());
            Ok(())
        });
    });
    request_token(&host, "register-email", "a@example.org", 1).ok();
    assert_eq!(mails.lock().unwrap().len(), 1);
}

#[test]
fn forgotten_password_is_changed_by_who_reads_the_mail() {
    let (host, mails) = start(json!({ "mail-links": "at-once" }));
    let ann = register(&host, "ann");
    let sid = request_token(&host, "threepids-email", "a@example.org", 1).ok()["sid"].clone();
    assert_eq!(press(&host, "GET", &link(&mails)).status(), 200);
    add(&host, ANN, &sid).ok();
    let change = |auth: Value| {
        let body = json!({ "new_password": "fresh", "auth": auth });
        host.request("POST", "password").json(&body).send::<Plugin>()
    };
    let asked = host.request("POST", "password").json(&json!({})).send::<Plugin>();
    assert_eq!(asked.json()["flows"], json!([{ "stages": ["m.login.email.identity"] }]));
    let sid = request_token(&host, "password-email", "a@example.org", 1).ok()["sid"].clone();
    // For a new password the button is always needed.
    press(&host, "GET", &link(&mails));
    let creds = json!({ "sid": sid, "client_secret": "s3cr3t" });
    let auth = json!({
        "type": "m.login.email.identity", "session": asked.json()["session"], "threepid_creds": creds,
    });
    let early = change(auth.clone());
    assert_eq!((early.status(), &early.json()["errcode"]), (401, &json!("M_THREEPID_AUTH_FAILED")));
    press(&host, "POST", &link(&mails));
    change(auth.clone()).ok();
    assert!(crate::words::who(&ann["access_token"]).is_err(), "all devices are logged out");
    log_in(&host, crate::words::by_name("ann", "fresh")).ok();
    assert_eq!(change(auth).status(), 401, "a proof is good once");
}

#[test]
fn user_registers_with_an_address() {
    let (host, mails) = start(json!({ "email": "optional" }));
    let first = host.request("POST", "register").json(&json!({})).send::<Plugin>().json();
    let flows = json!([{ "stages": ["m.login.dummy"] }, { "stages": ["m.login.email.identity"] }]);
    assert_eq!(first["flows"], flows);
    let sid = proved(&host, &mails, "register-email", "a@example.org");
    let auth = json!({
        "type": "m.login.email.identity", "session": first["session"],
        "threepid_creds": { "sid": sid, "client_secret": "s3cr3t" },
    });
    let body = json!({ "username": "ann", "password": "secret", "device_id": "DEV", "auth": auth });
    host.request("POST", "register").json(&body).send::<Plugin>().ok();
    let listed = ask(&host, "GET", "threepids", Value::Null).ok();
    assert_eq!(listed["threepids"][0]["address"], "a@example.org");
    assert_eq!(host.messages("accounts.threepids").len(), 1);
    let answer = request_token(&host, "register-email", "b@example.org", 1).ok();
    assert!(answer["sid"].is_string());
}

#[test]
fn module_may_refuse_an_address() {
    let (host, mails) = start(json!({}));
    host.services(|services| {
        services.hooks.threepid_allowed = Some(Arc::new(|_, threepid: &Threepid, registering| {
            assert_eq!(threepid.address, "a@example.org");
            let refusal = Refusal {
                status: 403,
                errcode: "M_THREEPID_DENIED".to_owned(),
                error: format!("no: {registering}"),
            };
            Err(refusal)
        }));
    });
    for route in ["register-email", "threepids-email"] {
        let answer = request_token(&host, route, "a@example.org", 1);
        assert_eq!(answer.error(), error(403, "M_THREEPID_DENIED"));
    }
    assert!(mails.lock().unwrap().is_empty());
}

#[test]
fn addresses_go_with_their_account() {
    let (host, mails) = start(json!({}));
    register(&host, "ann");
    let sid = proved(&host, &mails, "threepids-email", "a@example.org");
    add(&host, ANN, &sid).ok();
    let session = ask(&host, "POST", "deactivate", json!({})).json()["session"].clone();
    let body = json!({ "auth": proof(&session), "erase": true });
    let done = ask(&host, "POST", "deactivate", body).ok();
    assert_eq!(done, json!({ "id_server_unbind_result": "success" }));
    let last = host.messages("accounts.threepids").pop().unwrap();
    assert_eq!(last["change"], "removed");
    let erased =
        tessera_sdk::storage::query("SELECT user_id FROM accounts_v1_erased", vec![]).unwrap();
    assert_eq!(erased.all::<(String,)>().unwrap(), [(ANN.to_owned(),)]);
    request_token(&host, "register-email", "a@example.org", 5).ok();
    assert!(mails.lock().unwrap().last().unwrap().subject.contains("Confirm"), "it is free again");
}

#[test]
fn addresses_may_be_kept_as_they_are() {
    let (host, mails) = start(json!({ "threepid-changes": false, "password-changes": false }));
    register(&host, "ann");
    let forbidden = error(403, "M_FORBIDDEN");
    let answer = request_token(&host, "threepids-email", "a@example.org", 1);
    assert_eq!(answer.error(), forbidden);
    assert_eq!(request_token(&host, "password-email", "a@example.org", 1).error(), forbidden);
    let named = json!({ "medium": "email", "address": "a@example.org" });
    assert_eq!(ask(&host, "POST", "threepids-delete", named).error(), forbidden);
    assert_eq!(ask(&host, "POST", "password", json!({})).error(), forbidden);
    assert!(mails.lock().unwrap().is_empty());
}

#[test]
fn addresses_are_shown_to_others_by_a_view() {
    let (host, mails) = start(json!({}));
    register(&host, "ann");
    let sid = proved(&host, &mails, "threepids-email", "a@example.org");
    add(&host, ANN, &sid).ok();
    let sql = "SELECT user_id, medium, address, validated_ms, added_ms FROM accounts_v1_threepids";
    let rows: Vec<(String, String, String, u64, u64)> =
        tessera_sdk::storage::query(sql, vec![]).unwrap().all().unwrap();
    let now = host.now_ms();
    let row = (ANN.to_owned(), "email".to_owned(), "a@example.org".to_owned(), now, now);
    assert_eq!(rows, [row]);
}

#[test]
fn two_requests_of_the_same_words_share_one_session() {
    let (host, mails) = start(json!({}));
    let first = Arc::new(Mutex::new(Value::Null));
    let into = first.clone();
    host.before_next_commit(move |host| {
        *into.lock().unwrap() = request_token(host, "register-email", "a@example.org", 1).ok();
    });
    let second = request_token(&host, "register-email", "a@example.org", 1).ok();
    assert_eq!(second, *first.lock().unwrap());
    assert_eq!(press(&host, "POST", &link(&mails)).status(), 200);
}

#[test]
fn new_mail_wants_a_new_proof() {
    let (host, mails) = start(json!({}));
    register(&host, "ann");
    let sid = proved(&host, &mails, "threepids-email", "a@example.org");
    let again = request_token(&host, "threepids-email", "a@example.org", 2).ok();
    assert_eq!(again["sid"], sid);
    assert_eq!(add(&host, ANN, &sid).error(), error(403, "M_THREEPID_AUTH_FAILED"));
    press(&host, "POST", &link(&mails));
    add(&host, ANN, &sid).ok();
}

#[test]
fn sessions_of_unknown_addresses_look_like_the_others() {
    let (host, mails) = start(json!({}));
    register(&host, "ann");
    let sid = proved(&host, &mails, "threepids-email", "ann@example.org");
    add(&host, ANN, &sid).ok();
    mails.lock().unwrap().clear();
    for route in ["password-email", "register-email", "threepids-email"] {
        for email in ["ann@example.org", "nobody@example.org"] {
            let first = request_token(&host, route, email, 1).ok();
            assert_eq!(request_token(&host, route, email, 1).ok(), first, "{route} {email}");
            assert_eq!(request_token(&host, route, email, 2).ok(), first, "{route} {email}");
        }
    }
    // Two attempts each.
    assert_eq!(mails.lock().unwrap().len(), 12);
}

#[test]
fn mail_that_did_not_go_is_sent_when_asked_for_again() {
    let (host, mails) = start(json!({}));
    let into = mails.clone();
    let tries = Mutex::new(0);
    host.services(move |services| {
        services.mail = Arc::new(move |message| {
            *tries.lock().unwrap() += 1;
            if *tries.lock().unwrap() == 1 {
                return Err(mail::Error::Unavailable("later".to_owned()));
            }
            into.lock().unwrap().push(message.clone());
            Ok(())
        });
    });
    assert!(request_token(&host, "register-email", "a@example.org", 1).error().0 >= 400);
    request_token(&host, "register-email", "a@example.org", 1).ok();
    assert_eq!(mails.lock().unwrap().len(), 1);
    request_token(&host, "register-email", "a@example.org", 1).ok();
    assert_eq!(mails.lock().unwrap().len(), 1);
}

#[test]
fn deactivation_does_not_tell_whose_address_it_is() {
    let (host, mails) = start(json!({}));
    register(&host, "ann");
    let sid = proved(&host, &mails, "threepids-email", "ann@example.org");
    add(&host, ANN, &sid).ok();
    let told = |address: &str| {
        let auth = json!({
            "type": "m.login.password", "password": "wrong",
            "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": address },
        });
        let body = json!({ "auth": auth });
        let answer = host.request("POST", "deactivate").json(&body).send::<Plugin>();
        let mut said = answer.json();
        said["session"] = Value::Null;
        (answer.status(), said)
    };
    let known = told("ann@example.org");
    assert_eq!((known.0, &known.1["errcode"]), (401, &json!("M_FORBIDDEN")));
    assert_eq!(told("nobody@example.org"), known);
}
