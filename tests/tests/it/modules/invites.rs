//! examples/auto-accept-invites: a durable topic, two views, two services.

use std::time::{Duration, Instant};

use serde_json::json;
use tessera_tests::api::Session;

use super::{admin_config, invite};
use crate::common::World;

const CONFIG: &str = r#"
[plugins.auto-accept-invites]
grants = { hear = ["rooms.events"], reads = "*", call = "*" }
"#;

/// How long all invites may take to be accepted: the server may have to start once more.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

async fn world() -> World {
    World::start_with_config(&format!("{}{CONFIG}", admin_config())).await
}

async fn joined(user: &Session) -> Vec<String> {
    let answer = user.get("/joined_rooms").await.unwrap();
    serde_json::from_value(answer["joined_rooms"].clone()).unwrap()
}

async fn joins(user: &Session, rooms: &[String]) {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = joined(user).await;
        let missing: Vec<_> = rooms.iter().filter(|room| !now.contains(room)).collect();
        if missing.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{} of {} are missing", missing.len(), rooms.len());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[tokio::test]
async fn invited_user_is_in_the_room_without_doing_anything() {
    let world = world().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let request = json!({"preset": "private_chat", "is_direct": true, "invite": [&*bob.user_id]});
    let room = alice.create_room(&request).await.unwrap();
    joins(&bob, std::slice::from_ref(&room)).await;
    let end = Instant::now() + PATIENCE;
    let path = format!("/user/{}/account_data/m.direct", bob.user_id);
    loop {
        let answer = bob.call(reqwest::Method::GET, &path, None).await.unwrap();
        if answer.status == 200 {
            assert_eq!(answer.body, json!({&*alice.user_id: [room]}));
            return;
        }
        assert!(Instant::now() < end, "{answer:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[tokio::test]
async fn no_invite_is_lost_when_the_server_is_killed_in_the_middle() {
    let mut world = world().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let mut rooms = Vec::new();
    for round in 0..4 {
        for _ in 0..4 {
            let room = alice.create_room(&json!({"preset": "private_chat"})).await.unwrap();
            let invited = invite(&alice, &room, &bob.user_id).await;
            assert_eq!(invited.status, 200, "{invited:?}");
            rooms.push(room);
        }
        // The invites were answered; whatever their consumer has done by now is cut off.
        world.server.kill9().await.unwrap();
        world.server.boot().await.unwrap_or_else(|error| panic!("round {round}: {error:#}"));
    }
    joins(&bob, &rooms).await;
}
