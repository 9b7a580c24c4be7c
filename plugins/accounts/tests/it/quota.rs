//! The cap on users.

use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_test_host::{TestAnswer, TestHost};

use crate::words::{ask, proof, register, start};

fn send(host: &TestHost, name: &str) -> TestAnswer {
    let body =
        json!({ "username": name, "password": "secret", "auth": { "type": "m.login.dummy" } });
    host.request("POST", "register").json(&body).send::<Plugin>()
}

fn full(answer: &TestAnswer) {
    assert_eq!(answer.error(), (403, "M_RESOURCE_LIMIT_EXCEEDED".to_owned()));
}

#[test]
fn no_more_users_than_the_cap_are_registered() {
    let host = start();
    host.cap("users", Some(2));
    send(&host, "ann").ok();
    send(&host, "bob").ok();
    full(&send(&host, "eve"));
    let asked = host.request("POST", "register").json(&json!({ "username": "eve" }));
    full(&asked.send::<Plugin>());
    host.cap("users", Some(3));
    send(&host, "eve").ok();
}

#[test]
fn who_registers_at_the_same_moment_is_counted() {
    let host = start();
    host.cap("users", Some(1));
    host.before_next_commit(|host| {
        send(host, "bob").ok();
    });
    full(&send(&host, "ann"));
    assert_eq!(send(&host, "bob").error().1, "M_RESOURCE_LIMIT_EXCEEDED");
}

#[test]
fn deactivated_users_make_room() {
    let host = start();
    register(&host, "ann");
    host.cap("users", Some(1));
    full(&send(&host, "bob"));
    let asked = ask(&host, "POST", "deactivate", json!({}));
    let session: Value = asked.json()["session"].clone();
    ask(&host, "POST", "deactivate", json!({ "auth": proof(&session) })).ok();
    send(&host, "bob").ok();
    full(&send(&host, "eve"));
}

#[test]
fn without_a_cap_there_is_none() {
    let host = start();
    for name in ["ann", "bob", "eve"] {
        send(&host, name).ok();
    }
    host.cap("users", Some(3));
    full(&send(&host, "joe"));
}
