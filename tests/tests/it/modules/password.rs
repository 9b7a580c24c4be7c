//! examples/rest-password: Python that lets a service outside check passwords; logged in with matrix-nio.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    outside::{Outside, Reply},
    world,
};
use crate::{
    common::{World, assert_error},
    e2e,
};

const PATH: &str = "/_matrix-internal/identity/v1/check_credentials";

async fn with(outside: &Outside, more: &str) -> World {
    world(&format!(
        "registration = \"closed\"\n\
         [plugins.rest-password]\ngrants = {{ answer = \"*\", fetch = [\"{0}\"] }}\n\
         config = {{ endpoint = \"{0}\"{more} }}\n",
        outside.url
    ))
    .await
}

async fn log_in(world: &World, user: &str, password: &str) -> tessera_tests::api::Answer {
    let body = json!({"type": "m.login.password", "password": password,
        "identifier": {"type": "m.id.user", "user": user}});
    world.request(Method::POST, "/_matrix/client/v3/login", None, Some(&body)).await
}

fn yes(name: &str) -> Reply {
    Reply::Json(200, json!({"auth": {"success": true, "profile": {"display_name": name}}}))
}

fn no() -> Reply {
    Reply::Json(200, json!({"auth": {"success": false}}))
}

#[tokio::test]
async fn nio_logs_in_with_a_password_that_only_the_service_knows() {
    let outside = Outside::start().await;
    outside.reply(PATH, yes("Alice of the Forum"));
    let world = with(&outside, "").await;
    let mut nio: Command = e2e::nio("login.py");
    nio.args(["--url", &world.server.url(), "--user", "alice", "--password", "forum password"]);
    let output = nio.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!(told["user_id"], "@alice:hs1");
    assert_eq!(told["displayname"], "Alice of the Forum");
    assert!(told["flows"].as_array().unwrap().contains(&json!("m.login.password")), "{told}");
    let asked = outside.asked(PATH);
    assert_eq!(asked[0].body, json!({"user": {"id": "@alice:hs1", "password": "forum password"}}));
}

#[tokio::test]
async fn wrong_password_is_wrong_and_makes_no_account() {
    let outside = Outside::start().await;
    outside.reply(PATH, no());
    let world = with(&outside, "").await;
    assert_error(&log_in(&world, "alice", "guess").await, &[403], &["M_FORBIDDEN"]);
    let path = "/_matrix/client/v3/profile/@alice:hs1";
    assert_eq!(world.request(Method::GET, path, None, None).await.status, 404);
}

#[tokio::test]
async fn local_passwords_work_where_the_service_has_no_opinion_and_not_where_it_is_alone() {
    let outside = Outside::start().await;
    outside.reply(PATH, no());
    for (sole, status) in [("", 200), (", sole = true", 403)] {
        let world = with(&outside, sole).await;
        // With the operator's secret, as registration is closed.
        super::admin(&world, "local").await;
        let answer = log_in(&world, "local", "a password").await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[tokio::test]
async fn service_that_fails_lets_nobody_in() {
    let outside = Outside::start().await;
    let world = with(&outside, "").await;
    for reply in [
        Reply::Garbage,
        Reply::Json(500, json!({"auth": {"success": true}})),
        Reply::Json(200, json!({"auth": {"success": true, "mxid": "@root:hs1"}})),
    ] {
        outside.reply(PATH, reply);
        assert_error(&log_in(&world, "alice", "guess").await, &[403], &["M_FORBIDDEN"]);
    }
}

#[tokio::test]
async fn password_is_in_no_log() {
    let outside = Outside::start().await;
    outside.reply(PATH, Reply::Garbage);
    let world = with(&outside, "").await;
    log_in(&world, "alice", "correct horse battery").await;
    let log = world.server.log();
    assert!(log.contains("the password service is no help"), "{log}");
    assert!(!log.contains("correct horse battery"), "{log}");
}
