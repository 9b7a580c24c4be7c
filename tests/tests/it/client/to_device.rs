//! Messages from device to device.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::{Session, string};

use super::Front;
use super::keys::refused;

/// How long something that comes by itself may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Messages since a token until there are so many, and the token behind them.
async fn receive(device: &Session, since: &str, count: usize) -> (Vec<Value>, String) {
    let until = Instant::now() + PATIENCE;
    let (mut events, mut since) = (Vec::new(), since.to_owned());
    while events.len() < count {
        assert!(Instant::now() < until, "{events:?}");
        let sync = device.sync(Some(&since), Duration::from_secs(2), "").await.unwrap();
        events.extend(sync["to_device"]["events"].as_array().cloned().unwrap_or_default());
        since = string(&sync, "next_batch").unwrap();
    }
    (events, since)
}

fn event(sender: &Session, n: u32) -> Value {
    json!({"sender": sender.user_id.as_ref(), "type": "m.test", "content": {"n": n}})
}

#[tokio::test]
async fn messages_reach_their_device_in_order_and_once() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let second = front.device("bob").await;
    let start = bob.sync_token().await.unwrap();
    let other = second.sync_token().await.unwrap();
    let user = bob.user_id.as_ref();
    for n in 0..3 {
        let messages = json!({"messages": {user: {bob.device_id.as_ref(): {"n": n}}}});
        alice.put(&format!("/sendToDevice/m.test/{n}"), &messages).await.unwrap();
    }
    let again = json!({"messages": {user: {bob.device_id.as_ref(): {"n": 9}}}});
    alice.put("/sendToDevice/m.test/2", &again).await.unwrap();
    let all = json!({"messages": {user: {"*": {"n": 3}}, "@nobody:elsewhere": {"X": {}}}});
    alice.put("/sendToDevice/m.test/all", &all).await.unwrap();
    let (events, next) = receive(&bob, &start, 4).await;
    assert_eq!(events, [0, 1, 2, 3].map(|n| event(&alice, n)));
    // A lost answer is asked for again.
    let (again, next_again) = receive(&bob, &start, 4).await;
    assert_eq!(again, events);
    assert_eq!(receive(&second, &other, 1).await.0, [event(&alice, 3)]);
    // Who goes on from the token is not told again.
    let messages = json!({"messages": {user: {bob.device_id.as_ref(): {"n": 4}}}});
    alice.put("/sendToDevice/m.test/4", &messages).await.unwrap();
    assert_eq!(receive(&bob, &next, 1).await.0, [event(&alice, 4)]);
    assert_eq!(receive(&bob, &next_again, 1).await.0, [event(&alice, 4)]);
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let put = async |body: Value| {
        alice.call(Method::PUT, "/sendToDevice/m.test/1", Some(&body)).await.unwrap()
    };
    refused(&put(json!({})).await, 400, "M_MISSING_PARAM");
    refused(&put(json!({"messages": {alice.user_id.as_ref(): 5}})).await, 400, "M_BAD_JSON");
    let large = json!({"messages": {alice.user_id.as_ref(): {"*": {"x": "x".repeat(70_000)}}}});
    refused(&put(large).await, 413, "M_TOO_LARGE");
}
