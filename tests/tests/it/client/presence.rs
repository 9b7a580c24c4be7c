//! presence

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::Session;

use super::Front;
use crate::common::assert_error;

/// Alice, and bob in a room of hers; carol outside.
async fn three(front: &Front) -> (Session, Session, Session, String) {
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let carol = front.user("carol").await;
    let room = alice.create_room(&json!({ "preset": "public_chat" })).await.unwrap();
    bob.join(&room).await.unwrap();
    (alice, bob, carol, room)
}

/// Syncs until an answer holds what is looked for.
async fn seen<T>(user: &Session, since: &str, look: impl Fn(&Value) -> Option<T>) -> T {
    let syncing = async {
        let mut since = since.to_owned();
        loop {
            let sync = user
                .sync(Some(&since), Duration::from_secs(10), "&set_presence=offline")
                .await
                .unwrap();
            if let Some(found) = look(&sync) {
                return found;
            }
            since = sync["next_batch"].as_str().unwrap().to_owned();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), syncing).await.unwrap()
}

/// Content of an ephemeral event of a room.
fn ephemeral(sync: &Value, room: &str, kind: &str) -> Option<Value> {
    let events = sync["rooms"]["join"][room]["ephemeral"]["events"].as_array()?;
    events.iter().find(|event| event["type"] == kind).map(|event| event["content"].clone())
}

#[tokio::test]
async fn presence_is_told_to_those_who_share_a_room() {
    let front = Front::get().await;
    let (alice, bob, carol, _) = three(&front).await;
    let path = format!("/presence/{}/status", alice.user_id);
    let since = bob.sync_token().await.unwrap();
    let mine = json!({ "presence": "unavailable", "status_msg": "at lunch" });
    assert_eq!(alice.put(&path, &mine).await.unwrap(), json!({}));
    for user in [&alice, &bob] {
        let told = user.get(&path).await.unwrap();
        assert_eq!(told["presence"], "unavailable");
        assert_eq!(told["status_msg"], "at lunch");
        assert_eq!(told["currently_active"], false);
        assert!(told["last_active_ago"].is_u64());
    }
    let told = seen(&bob, &since, |sync| {
        let events = sync["presence"]["events"].as_array()?;
        let of = |event: &&Value| event["sender"] == alice.user_id.as_ref();
        events.iter().rfind(of).map(|event| event["content"].clone())
    })
    .await;
    assert_eq!((&told["presence"], &told["status_msg"]), (&mine["presence"], &mine["status_msg"]));
    let answer = carol.call(Method::GET, &path, None).await.unwrap();
    assert_error(&answer, &[403], &["M_FORBIDDEN"]);
    let answer = bob.call(Method::PUT, &path, Some(&mine)).await.unwrap();
    assert_error(&answer, &[403], &["M_FORBIDDEN"]);
    let odd = json!({ "presence": "asleep" });
    let answer = alice.call(Method::PUT, &path, Some(&odd)).await.unwrap();
    assert_error(&answer, &[400], &["M_INVALID_PARAM"]);
}

#[tokio::test]
async fn who_syncs_is_there_unless_they_say_otherwise() {
    let front = Front::get().await;
    let (alice, bob, _, _) = three(&front).await;
    let path = format!("/presence/{}/status", alice.user_id);
    alice.sync(None, Duration::ZERO, "&set_presence=offline").await.unwrap();
    assert_eq!(bob.get(&path).await.unwrap()["presence"], "offline");
    alice.sync(None, Duration::ZERO, "").await.unwrap();
    let told = bob.get(&path).await.unwrap();
    assert_eq!((&told["presence"], &told["currently_active"]), (&json!("online"), &json!(true)));
    alice.sync(None, Duration::ZERO, "&set_presence=unavailable").await.unwrap();
    assert_eq!(bob.get(&path).await.unwrap()["presence"], "unavailable");
}

#[tokio::test]
async fn typing_is_told_to_the_room_and_ends() {
    let front = Front::get().await;
    let (alice, bob, carol, room) = three(&front).await;
    let path = format!("/rooms/{room}/typing/{}", alice.user_id);
    let typists =
        |sync: &Value| ephemeral(sync, &room, "m.typing").map(|it| it["user_ids"].clone());
    let since = bob.sync_token().await.unwrap();
    let body = json!({ "typing": true, "timeout": 1000 });
    assert_eq!(alice.put(&path, &body).await.unwrap(), json!({}));
    let both = [json!([alice.user_id.as_ref()]), json!([])];
    seen(&bob, &since, |sync| typists(sync).filter(|list| *list == both[0])).await;
    // Nobody says that it is over.
    seen(&bob, &since, |sync| typists(sync).filter(|list| *list == both[1])).await;
    alice.put(&path, &json!({ "typing": true, "timeout": 60_000 })).await.unwrap();
    let since = bob.sync_token().await.unwrap();
    alice.put(&path, &json!({ "typing": false })).await.unwrap();
    seen(&bob, &since, |sync| typists(sync).filter(|list| *list == both[1])).await;
    let answer = bob.call(Method::PUT, &path, Some(&body)).await.unwrap();
    assert_error(&answer, &[403], &["M_FORBIDDEN"]);
    let outside = format!("/rooms/{room}/typing/{}", carol.user_id);
    let answer = carol.call(Method::PUT, &outside, Some(&body)).await.unwrap();
    assert_error(&answer, &[403], &["M_FORBIDDEN"]);
}

#[tokio::test]
async fn receipts_are_told_and_never_go_back() {
    let front = Front::get().await;
    let (alice, bob, carol, room) = three(&front).await;
    let mut sent = Vec::new();
    for n in 0..3 {
        sent.push(alice.text(&room, &format!("t{n}"), "hello").await.unwrap());
    }
    let since = alice.sync_token().await.unwrap();
    let path = |kind: &str, event: &str| format!("/rooms/{room}/receipt/{kind}/{event}");
    let read = bob.post(&path("m.read", &sent[1]), &json!({})).await.unwrap();
    assert_eq!(read, json!({}));
    let of = |sync: &Value, event: &str, kind: &str| {
        let receipt = ephemeral(sync, &room, "m.receipt")?;
        receipt[event][kind].get(bob.user_id.as_ref()).cloned()
    };
    let told = seen(&alice, &since, |sync| of(sync, &sent[1], "m.read")).await;
    assert!(told["ts"].is_u64() && told.get("thread_id").is_none());
    // An older one, and a private one, are not told to others; a later one is, with its thread.
    bob.post(&path("m.read", &sent[0]), &json!({})).await.unwrap();
    bob.post(&path("m.read.private", &sent[2]), &json!({})).await.unwrap();
    bob.post(&path("m.read", &sent[2]), &json!({ "thread_id": "main" })).await.unwrap();
    let told = seen(&alice, &since, |sync| {
        assert!(
            of(sync, &sent[0], "m.read").is_none()
                && of(sync, &sent[2], "m.read.private").is_none()
        );
        of(sync, &sent[2], "m.read")
    })
    .await;
    assert_eq!(told["thread_id"], "main");
    let own = bob.sync(None, Duration::ZERO, "").await.unwrap();
    assert!(of(&own, &sent[2], "m.read.private").is_some(), "one's own private receipt: {own}");
    let call = async |user: &Session, path: String, body: Value| {
        user.call(Method::POST, &path, Some(&body)).await.unwrap()
    };
    let answer = call(&bob, path("m.glanced", &sent[0]), json!({})).await;
    assert_error(&answer, &[400], &["M_INVALID_PARAM"]);
    for thread in [json!({ "thread_id": "nonsense" }), json!({ "thread_id": "" })] {
        let answer = call(&bob, path("m.read", &sent[0]), thread).await;
        assert_error(&answer, &[400], &["M_INVALID_PARAM"]);
    }
    let answer = call(&carol, path("m.read", &sent[0]), json!({})).await;
    assert_error(&answer, &[403], &["M_FORBIDDEN"]);
}

#[tokio::test]
async fn read_markers_are_account_data_and_receipts() {
    let front = Front::get().await;
    let (alice, bob, carol, room) = three(&front).await;
    let first = alice.text(&room, "t1", "one").await.unwrap();
    let second = alice.text(&room, "t2", "two").await.unwrap();
    let path = format!("/rooms/{room}/read_markers");
    let body = json!({ "m.fully_read": first, "m.read": second, "m.read.private": second });
    assert_eq!(bob.post(&path, &body).await.unwrap(), json!({}));
    let sync = bob.sync(None, Duration::ZERO, "").await.unwrap();
    let data = sync["rooms"]["join"][&room]["account_data"]["events"].as_array().unwrap();
    let marker = data.iter().find(|event| event["type"] == "m.fully_read").unwrap();
    assert_eq!(marker["content"], json!({ "event_id": first }));
    let receipt = ephemeral(&sync, &room, "m.receipt").unwrap();
    assert!(receipt[&second]["m.read"].get(bob.user_id.as_ref()).is_some());
    // The same by the other endpoint.
    let other = format!("/rooms/{room}/receipt/m.fully_read/{second}");
    bob.post(&other, &json!({})).await.unwrap();
    let data = format!("/user/{}/rooms/{room}/account_data/m.fully_read", bob.user_id);
    assert_eq!(bob.get(&data).await.unwrap(), json!({ "event_id": second }));
    let answer = carol.call(Method::POST, &path, Some(&body)).await.unwrap();
    assert_error(&answer, &[403], &["M_FORBIDDEN"]);
}
