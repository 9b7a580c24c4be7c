//! examples/http-antispam: JavaScript that asks a service outside.

use reqwest::Method;
use serde_json::json;

use super::{
    invite,
    outside::{Outside, Reply},
    send, world,
};
use crate::common::{World, assert_error};

const PREFIX: &str = "/api/1/spam_check";

async fn with(outside: &Outside, more: &str) -> World {
    world(&format!(
        "[plugins.http-antispam]\ngrants = {{ answer = \"*\", fetch = [\"{0}\"] }}\n\
         config = {{ base-url = \"{0}{PREFIX}\", authorization = \"the secret\", timeout-ms = 2000{more} }}\n",
        outside.url
    ))
    .await
}

#[tokio::test]
async fn service_outside_is_asked_and_its_refusal_reaches_the_client() {
    let outside = Outside::start().await;
    let world = with(&outside, "").await;
    let (alice, room) = world.user_in_room("alice").await;
    let bob = world.user("bob").await;

    let refusal = json!({"errcode": "ORG_EXAMPLE_SPAM", "error": "no invites today"});
    outside.reply(&format!("{PREFIX}/user_may_invite"), Reply::Json(400, refusal));
    let refused = invite(&alice, &room, &bob.user_id).await;
    assert_error(&refused, &[403], &["ORG_EXAMPLE_SPAM"]);
    assert_eq!(refused.text("error"), "no invites today");
    let asked = outside.asked(&format!("{PREFIX}/user_may_invite"));
    let [asked] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(asked.authorization, "Bearer the secret");
    let body = json!({"inviter": &*alice.user_id, "invitee": &*bob.user_id, "room_id": room});
    assert_eq!(asked.body, body);

    bob.join(&room).await.unwrap();
    let joins = outside.asked(&format!("{PREFIX}/user_may_join_room"));
    let body = json!({"user": &*bob.user_id, "room": room, "is_invited": false});
    assert!(joins.iter().any(|asked| asked.body == body), "{joins:?}");

    assert_eq!(send(&bob, &room, "1", "hello out there").await.status, 200);
    let events = outside.asked(&format!("{PREFIX}/check_event_for_spam"));
    let hello = |event: &&super::outside::Asked| {
        event.body["event"]["content"]["body"] == "hello out there"
    };
    let event = events.iter().find(hello).expect("the message was not shown to the service");
    assert_eq!(event.body["event"]["sender"], *bob.user_id);

    let create = format!("{PREFIX}/user_may_create_room");
    outside.reply(&create, Reply::Json(403, json!({"error": "no rooms"})));
    let answer = bob.call(Method::POST, "/createRoom", Some(&json!({}))).await.unwrap();
    assert_error(&answer, &[403], &["M_FORBIDDEN"]);

    let login = format!("{PREFIX}/check_login_for_spam");
    outside.reply(&login, Reply::Json(403, json!({"error": "not you"})));
    let body = json!({"type": "m.login.password", "password": "bob's password",
        "identifier": {"type": "m.id.user", "user": "bob"}, "initial_device_display_name": "phone"});
    let answer = world.request(Method::POST, "/_matrix/client/v3/login", None, Some(&body)).await;
    assert_error(&answer, &[403], &["M_FORBIDDEN"]);
    let asked = outside.asked(&login);
    let asked = asked.last().expect("the login was not shown to the service");
    assert_eq!(asked.body["user_id"], *bob.user_id);
    assert_eq!(asked.body["initial_display_name"], "phone");
    assert_eq!(asked.body["request_info"][0][1], "127.0.0.1");
}

#[tokio::test]
async fn service_that_is_silent_or_broken_refuses_unless_it_fails_open() {
    let outside = Outside::start().await;
    outside.reply(&format!("{PREFIX}/check_event_for_spam"), Reply::Garbage);
    outside.reply(&format!("{PREFIX}/user_may_invite"), Reply::Garbage);
    let world = with(&outside, ", fail-open = [\"check_event_for_spam\"]").await;
    let (alice, room) = world.user_in_room("alice").await;
    let bob = world.user("bob").await;
    assert_eq!(send(&alice, &room, "1", "hello out there").await.status, 200);
    assert_error(&invite(&alice, &room, &bob.user_id).await, &[403], &["M_UNKNOWN"]);
}

#[tokio::test]
async fn address_that_is_not_granted_is_never_asked() {
    let (outside, other) = (Outside::start().await, Outside::start().await);
    let world = world(&format!(
        "[plugins.http-antispam]\ngrants = {{ answer = \"*\", fetch = [\"{}\"] }}\n\
         config = {{ base-url = \"{}{PREFIX}\" }}\n",
        outside.url, other.url
    ))
    .await;
    let user = world.user("alice").await;
    let answer = user.call(Method::POST, "/createRoom", Some(&json!({}))).await.unwrap();
    assert_error(&answer, &[403], &["M_UNKNOWN"]);
    assert!(other.asked(&format!("{PREFIX}/user_may_create_room")).is_empty());
}
