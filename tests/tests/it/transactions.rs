//! Replayed transaction ids: the same request once more is the same event.

use std::collections::BTreeSet;

use serde_json::json;
use tessera_tests::api::{self, Session};

use crate::common::World;

async fn count_of(user: &Session, room: &str, body: &str) -> usize {
    let page = user.get(&format!("/rooms/{room}/messages?dir=b&limit=100")).await.unwrap();
    page["chunk"].as_array().unwrap().iter().filter(|e| e["content"]["body"] == body).count()
}

#[tokio::test]
async fn replayed_send_is_one_event() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("replay").await;
    let first = user.text(&room, "txn", "once").await.unwrap();
    for _ in 0..3 {
        assert_eq!(user.text(&room, "txn", "once").await.unwrap(), first);
    }
    assert_eq!(count_of(&user, &room, "once").await, 1);
}

#[tokio::test]
async fn replays_at_the_same_time_are_one_event() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("race").await;
    for round in 0..5 {
        let (txn, body) = (format!("race-{round}"), format!("raced {round}"));
        let sends: Vec<_> = (0..8)
            .map(|_| {
                let (user, room, txn, body) =
                    (user.clone(), room.clone(), txn.clone(), body.clone());
                tokio::spawn(async move { user.text(&room, &txn, &body).await.unwrap() })
            })
            .collect();
        let mut ids = BTreeSet::new();
        for send in sends {
            ids.insert(send.await.unwrap());
        }
        assert_eq!(ids.len(), 1, "{ids:?}");
        assert_eq!(count_of(&user, &room, &body).await, 1);
    }
}

#[tokio::test]
async fn transaction_ids_belong_to_a_device() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("devices").await;
    let other = Session::login(&world.http, &world.base, "devices").await.unwrap();
    let first = user.text(&room, "txn", "from one").await.unwrap();
    let second = other.text(&room, "txn", "from the other").await.unwrap();
    assert_ne!(first, second);
}

#[tokio::test]
async fn transaction_ids_belong_to_a_path() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("paths").await;
    let first = user.text(&room, "txn", "text").await.unwrap();
    let other =
        user.put(&format!("/rooms/{room}/send/org.example.other/txn"), &json!({})).await.unwrap();
    assert_ne!(api::string(&other, "event_id").unwrap(), first);
    let second_room = user.create_room(&json!({})).await.unwrap();
    assert_ne!(user.text(&second_room, "txn", "text").await.unwrap(), first);
}

#[tokio::test]
async fn replayed_redaction_is_one_event() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("redactions").await;
    let target = user.text(&room, "target", "to be redacted").await.unwrap();
    let path = format!("/rooms/{room}/redact/{target}/redaction");
    let first = user.put(&path, &json!({"reason": "slip"})).await.unwrap();
    assert_eq!(user.put(&path, &json!({"reason": "slip"})).await.unwrap(), first);
}

#[tokio::test]
async fn transaction_ids_outlive_kill_and_restart() {
    let mut world = World::start().await;
    let (user, room) = world.user_in_room("restart").await;
    let first = user.text(&room, "txn", "once").await.unwrap();
    world.server.kill9().await.unwrap();
    world.server.boot().await.unwrap();
    assert_eq!(user.text(&room, "txn", "once").await.unwrap(), first);
    assert_eq!(count_of(&user, &room, "once").await, 1);
}
