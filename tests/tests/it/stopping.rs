//! SIGTERM: what is under way is answered, polls end, the process ends with 0.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::World;

const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn term_ends_an_idle_server_with_zero() {
    let mut world = World::start().await;
    let status = world.server.stop(SOON).await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn term_ends_parked_syncs_instead_of_waiting_for_them() {
    let mut world = World::start().await;
    let user = world.user("parked").await;
    let since = user.sync_token().await.unwrap();
    let polls: Vec<_> = (0..20)
        .map(|_| {
            let (user, since) = (user.clone(), since.clone());
            tokio::spawn(async move { user.sync(Some(&since), Duration::from_secs(100), "").await })
        })
        .collect();
    user.get("/account/whoami").await.unwrap();
    let started = Instant::now();
    let status = world.server.stop(SOON).await.unwrap();
    assert!(status.success(), "{status} after {:?}", started.elapsed());
    for poll in polls {
        // Answered or cut: over in any case.
        let _ =
            tokio::time::timeout(SOON, poll).await.expect("a poll outlived the server").unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_while_stopping_is_there_afterwards() {
    let mut world = World::start().await;
    let (user, room) = world.user_in_room("stopping").await;
    let senders: Vec<_> = (0..4)
        .map(|s| {
            let (user, room) = (user.clone(), room.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for i in 0.. {
                    match user.text(&room, &format!("s{s}-{i}"), "text").await {
                        Ok(event_id) => acknowledged.push(event_id),
                        Err(_) => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    for i in 0..5 {
        user.text(&room, &format!("under-way-{i}"), "text").await.unwrap();
    }
    let status = world.server.stop(SOON).await.unwrap();
    assert!(status.success(), "{status}");
    world.server.boot().await.unwrap();
    let mut count = 0;
    for sender in senders {
        for event_id in sender.await.unwrap() {
            user.get(&format!("/rooms/{room}/event/{event_id}")).await.unwrap();
            count += 1;
        }
    }
    assert!(count > 0, "nothing was under way");
}

#[tokio::test]
async fn everything_is_there_after_a_clean_restart() {
    let mut world = World::start().await;
    let (user, room) = world.user_in_room("restart").await;
    user.put(&format!("/rooms/{room}/state/m.room.topic/"), &json!({"topic": "kept"}))
        .await
        .unwrap();
    let since = user.sync_token().await.unwrap();
    let event_id = user.text(&room, "txn", "kept").await.unwrap();
    world.server.stop(SOON).await.unwrap();
    world.server.boot().await.unwrap();
    let sync = user.sync(Some(&since), Duration::ZERO, "").await.unwrap();
    let events = tessera_tests::api::timeline(&sync, &room);
    assert_eq!(events.len(), 1, "{sync}");
    assert_eq!(events[0]["event_id"], event_id.as_str());
    assert_eq!(
        user.get(&format!("/rooms/{room}/state/m.room.topic")).await.unwrap()["topic"],
        "kept"
    );
}
