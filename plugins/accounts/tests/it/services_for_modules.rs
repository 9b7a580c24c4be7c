//! What modules may ask of accounts.

use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_sdk::bindings::accounts::exports::tessera::services::accounts::{
    Error, Guest, NewUser, Sessions,
};

use crate::words::{ANN, ask, by_name, log_in, proof, register, start, who};

fn new_user(name: &str) -> NewUser {
    NewUser { localpart: name.to_owned(), password: None, displayname: None, admin: false }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Refused((errcode, _))) => errcode,
        other => panic!("{other:?}"),
    }
}

#[test]
fn service_registers_users_whether_or_not_registration_is_open() {
    let closed = json!({ "registration": "closed" });
    let host = crate::words::builder().config("accounts", &closed).start();
    let user = NewUser {
        displayname: Some("Ann".to_owned()),
        password: Some("secret".to_owned()),
        admin: true,
        ..new_user("ann")
    };
    assert_eq!(Plugin::register(user), Ok(ANN.to_owned()));
    let done = log_in(&host, by_name("ann", "secret")).ok();
    assert_eq!(who(&done["access_token"]).unwrap().principal.marks, ["admin"]);
    let told = json!({ "user_id": ANN, "change": "registered", "by_admin": true });
    assert_eq!(host.messages("accounts.users"), [told]);
    assert_eq!(refused(Plugin::register(new_user("ann"))), "M_USER_IN_USE");
    assert_eq!(refused(Plugin::register(new_user("A b"))), "M_INVALID_USERNAME");
    let long = NewUser { displayname: Some("x".repeat(2000)), ..new_user("bob") };
    assert_eq!(refused(Plugin::register(long)), "M_INVALID_PARAM");
    Plugin::register(new_user("bob")).unwrap();
    assert_eq!(log_in(&host, by_name("bob", "")).error().0, 403, "no password fits");
}

#[test]
fn service_tells_who_users_are() {
    let host = start();
    register(&host, "ann");
    let users = Plugin::users(vec![ANN.to_owned(), "@nobody:hs1".to_owned()]).unwrap();
    assert_eq!(users.len(), 1);
    let ann = &users[0];
    assert_eq!((ann.user.as_str(), ann.created_ms), (ANN, host.now_ms()));
    assert!(!ann.admin && !ann.guest && !ann.deactivated && !ann.shadow_banned);
    assert_eq!(ann.last_seen_ms, Some(host.now_ms()));
    assert_eq!(refused(Plugin::users(vec![String::new(); 1001])), "M_TOO_LARGE");
}

#[test]
fn users_are_active_when_their_requests_are_seen() {
    let host = start();
    let start = host.now_ms();
    let ann = register(&host, "ann");
    register(&host, "bob");
    assert_eq!(Plugin::active_users(start), Ok(2));
    host.advance(3_600_000);
    assert_eq!(Plugin::active_users(start + 1), Ok(0));
    who(&ann["access_token"]).unwrap();
    assert_eq!(Plugin::active_users(start + 1), Ok(1));
    let devices = ask(&host, "GET", "devices", Value::Null).ok();
    assert_eq!(devices["devices"][0]["last_seen_ts"], host.now_ms());
    // Within an hour nothing is written.
    let _ = host.calls();
    host.advance(1000);
    who(&ann["access_token"]).unwrap();
    assert_eq!(host.calls(), 1);
}

#[test]
fn service_logs_users_in_and_out() {
    let host = start();
    register(&host, "ann");
    let one =
        Plugin::log_in(ANN.to_owned(), Some("ONE".to_owned()), Some("Bot".to_owned())).unwrap();
    let two = Plugin::log_in(ANN.to_owned(), None, None).unwrap();
    let three = Plugin::log_in(ANN.to_owned(), None, None).unwrap();
    assert_eq!(one.device, "ONE");
    let good = |token: &str| who(&json!(token)).is_ok();
    assert!(good(&one.access_token) && good(&two.access_token) && good(&three.access_token));
    Plugin::log_out(Sessions::Token(two.access_token.clone())).unwrap();
    assert!(!good(&two.access_token) && good(&one.access_token));
    Plugin::log_out(Sessions::Device((ANN.to_owned(), "ONE".to_owned()))).unwrap();
    assert!(!good(&one.access_token) && good(&three.access_token));
    Plugin::log_out(Sessions::All(ANN.to_owned())).unwrap();
    assert!(!good(&three.access_token));
    let gone = Sessions::Device((ANN.to_owned(), "ONE".to_owned()));
    for sessions in [Sessions::Token("x".to_owned()), gone, Sessions::All("@x:hs1".to_owned())] {
        assert_eq!(Plugin::log_out(sessions), Err(Error::NotFound));
    }
    assert_eq!(Plugin::log_in("@x:hs1".to_owned(), None, None), Err(Error::NotFound));
    let bad = Plugin::log_in(ANN.to_owned(), Some(String::new()), None);
    assert_eq!(refused(bad), "M_INVALID_PARAM");
}

#[test]
fn login_token_is_good_once_and_for_a_while() {
    let host = start();
    register(&host, "ann");
    let enter = |token: &str| log_in(&host, json!({ "type": "m.login.token", "token": token }));
    let token = Plugin::login_token(ANN.to_owned(), 60_000).unwrap();
    assert_eq!(enter(&token).ok()["user_id"], ANN);
    assert_eq!(enter(&token).error(), (403, "M_FORBIDDEN".to_owned()));
    let late = Plugin::login_token(ANN.to_owned(), 60_000).unwrap();
    let later = Plugin::login_token(ANN.to_owned(), u64::MAX).unwrap();
    host.advance(60_001);
    assert_eq!(enter(&late).error().0, 403);
    host.advance(540_000);
    assert_eq!(enter(&later).error().0, 403, "ten minutes at most");
    assert_eq!(Plugin::login_token("@x:hs1".to_owned(), 1), Err(Error::NotFound));
}

#[test]
fn login_token_raced_by_another_is_spent_once() {
    let host = start();
    register(&host, "ann");
    let token = Plugin::login_token(ANN.to_owned(), 60_000).unwrap();
    host.before_next_commit(|_| {
        let sql = "DELETE FROM accounts_login_tokens";
        tessera_sdk::storage::Batch::new().run(sql, vec![]).commit().unwrap();
    });
    let raced = log_in(&host, json!({ "type": "m.login.token", "token": token }));
    assert_eq!(raced.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn deactivated_user_is_nobody_to_log_in() {
    let host = start();
    register(&host, "ann");
    let token = Plugin::login_token(ANN.to_owned(), 60_000).unwrap();
    let session = ask(&host, "POST", "deactivate", json!({})).json()["session"].clone();
    ask(&host, "POST", "deactivate", json!({ "auth": proof(&session) })).ok();
    assert_eq!(refused(Plugin::log_in(ANN.to_owned(), None, None)), "M_USER_DEACTIVATED");
    assert_eq!(refused(Plugin::login_token(ANN.to_owned(), 1)), "M_USER_DEACTIVATED");
    let late = log_in(&host, json!({ "type": "m.login.token", "token": token }));
    assert_eq!(late.error().0, 403);
    assert!(Plugin::users(vec![ANN.to_owned()]).unwrap()[0].deactivated);
    assert_eq!(Plugin::active_users(0), Ok(0));
}
