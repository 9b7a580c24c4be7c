//! Many parked syncs at once.

use std::time::{Duration, Instant};

use serde_json::json;
use tessera_tests::api::{self, Session};

use crate::common::World;

const POLLS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn one_message_wakes_every_parked_sync_of_its_room() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("many").await;
    let since = user.sync_token().await.unwrap();
    let polls: Vec<_> = (0..POLLS).map(|_| park(&user, &since, &room)).collect();
    // Whoever polls after the message gets it at once, so no poll can hang however late it starts.
    let event_id = user.text(&room, "wake", "wake up").await.unwrap();
    for poll in polls {
        let seen =
            tokio::time::timeout(PATIENCE, poll).await.expect("a sync was never woken").unwrap();
        assert_eq!(seen, std::slice::from_ref(&event_id));
    }
}

#[tokio::test]
async fn parked_syncs_do_not_hold_up_other_requests() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("busy").await;
    let since = user.sync_token().await.unwrap();
    let polls: Vec<_> = (0..POLLS).map(|_| park(&user, &since, &room)).collect();
    let other = world.user("other").await;
    let started = Instant::now();
    for i in 0..20 {
        let room = other.create_room(&json!({"name": format!("room {i}")})).await.unwrap();
        other.text(&room, "txn", "text").await.unwrap();
    }
    assert!(
        started.elapsed() < PATIENCE / 2,
        "{:?} for 40 requests beside parked syncs",
        started.elapsed()
    );
    user.text(&room, "end", "end").await.unwrap();
    for poll in polls {
        tokio::time::timeout(PATIENCE, poll).await.expect("a sync was never woken").unwrap();
    }
}

#[tokio::test]
async fn sync_without_news_ends_with_its_timeout() {
    let world = World::start().await;
    let user = world.user("quiet").await;
    let since = user.sync_token().await.unwrap();
    let started = Instant::now();
    let answer = user.sync(Some(&since), Duration::from_millis(700), "").await.unwrap();
    let took = started.elapsed();
    assert!((Duration::from_millis(600)..Duration::from_secs(20)).contains(&took), "{took:?}");
    assert!(answer["next_batch"].is_string(), "{answer}");
}

#[tokio::test]
async fn another_rooms_message_wakes_nobody() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("bystander").await;
    let (other, elsewhere) = world.user_in_room("elsewhere").await;
    let since = user.sync_token().await.unwrap();
    let poll = park(&user, &since, &room);
    for i in 0..10 {
        other.text(&elsewhere, &format!("txn-{i}"), "not for you").await.unwrap();
    }
    let event_id = user.text(&room, "wake", "for you").await.unwrap();
    let seen = tokio::time::timeout(PATIENCE, poll).await.unwrap().unwrap();
    assert_eq!(seen, [event_id]);
}

/// Polls from `since` until there is an event of the room, and gives the ids of those events.
fn park(user: &Session, since: &str, room: &str) -> tokio::task::JoinHandle<Vec<String>> {
    let (user, mut since, room) = (user.clone(), since.to_owned(), room.to_owned());
    tokio::spawn(async move {
        loop {
            let answer = user.sync(Some(&since), Duration::from_secs(50), "").await.unwrap();
            let events = api::timeline(&answer, &room);
            if !events.is_empty() {
                return events.iter().map(|e| e["event_id"].as_str().unwrap().to_owned()).collect();
            }
            since = api::string(&answer, "next_batch").unwrap();
        }
    })
}
