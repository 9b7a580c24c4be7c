//! examples/room-access-rules: Python that asks the rooms service back about the room it is asked about.

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::{Answer, Session};

use super::{invite, send, world};
use crate::common::assert_error;

const CONFIG: &str = r#"
[plugins.room-access-rules]
grants = { answer = "*", call = ["tessera:services/rooms.state"] }
config = { domains-forbidden-when-restricted = ["bad.example.org"] }
"#;

const ACCESS: &str = "im.vector.room.access_rules";

async fn rule(user: &Session, room: &str) -> Value {
    let content = user.get(&format!("/rooms/{room}/state/{ACCESS}/")).await.unwrap();
    content["rule"].clone()
}

async fn set(user: &Session, room: &str, kind: &str, content: &Value) -> Answer {
    user.call(Method::PUT, &format!("/rooms/{room}/state/{kind}/"), Some(content)).await.unwrap()
}

async fn create(user: &Session, request: &Value) -> Answer {
    user.call(Method::POST, "/createRoom", Some(request)).await.unwrap()
}

#[tokio::test]
async fn every_room_gets_a_rule_and_the_request_is_changed_for_it() {
    let world = world(CONFIG).await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let room = alice.create_room(&json!({"name": "a name"})).await.unwrap();
    assert_eq!(rule(&alice, &room).await, "restricted");
    let name = alice.get(&format!("/rooms/{room}/state/m.room.name/")).await.unwrap();
    assert_eq!(name["name"], "a name", "the rest of the request holds");
    let direct = json!({"is_direct": true, "invite": [&*bob.user_id]});
    let direct = alice.create_room(&direct).await.unwrap();
    assert_eq!(rule(&alice, &direct).await, "direct");
}

#[tokio::test]
async fn room_that_the_rules_forbid_is_not_made() {
    let world = world(CONFIG).await;
    let alice = world.user("alice").await;
    let open = json!([{"type": ACCESS, "state_key": "", "content": {"rule": "unrestricted"}}]);
    for request in [
        json!({"invite": ["@eve:bad.example.org"]}),
        json!({"is_direct": true, "invite": ["@bob:hs1", "@carol:hs1"]}),
        json!({"preset": "public_chat", "initial_state": open}),
    ] {
        assert_error(&create(&alice, &request).await, &[403], &["M_FORBIDDEN"]);
    }
}

#[tokio::test]
async fn direct_room_is_for_two_and_has_no_name() {
    let world = world(CONFIG).await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let carol = world.user("carol").await;
    let request =
        json!({"is_direct": true, "preset": "trusted_private_chat", "invite": [&*bob.user_id]});
    let room = alice.create_room(&request).await.unwrap();
    bob.join(&room).await.unwrap();
    assert_error(&invite(&alice, &room, &carol.user_id).await, &[403], &["M_FORBIDDEN"]);
    let named = set(&bob, &room, "m.room.name", &json!({"name": "us"})).await;
    assert_error(&named, &[403], &["M_FORBIDDEN"]);
    let sent = send(&bob, &room, "1", "just us").await;
    assert_eq!(sent.status, 200, "{sent:?}");
}

#[tokio::test]
async fn rule_changes_one_way_and_closes_the_public_door() {
    let world = world(CONFIG).await;
    let (alice, room) = world.user_in_room("alice").await;
    let opened = set(&alice, &room, ACCESS, &json!({"rule": "unrestricted"})).await;
    assert_error(&opened, &[403], &["M_FORBIDDEN"]);
    let private = alice.create_room(&json!({"preset": "private_chat"})).await.unwrap();
    let opened = set(&alice, &private, ACCESS, &json!({"rule": "unrestricted"})).await;
    assert_eq!(opened.status, 200, "{opened:?}");
    let back = set(&alice, &private, ACCESS, &json!({"rule": "restricted"})).await;
    assert_error(&back, &[403], &["M_FORBIDDEN"]);
    let public = set(&alice, &private, "m.room.join_rules", &json!({"join_rule": "public"})).await;
    assert_error(&public, &[403], &["M_FORBIDDEN"]);
}
