//! Random kill -9 during load: afterwards every acknowledged event is there exactly once, in order per sender, and a
//! reader whose sync loop ran through it all was told of each exactly once.
//!
//! `TESSERA_CRASH_ROUNDS` is the number of kills (10; 200 for the long run by hand), `TESSERA_CRASH_SEED` repeats a run.

use std::time::Duration;

use serde_json::json;
use tessera_tests::random::Random;
use tokio::sync::watch;

use crate::{
    common::{World, number},
    load, verify,
};

/// Users that send at once.
const SENDERS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_kills_during_load_lose_and_double_nothing() {
    let rounds = number("TESSERA_CRASH_ROUNDS", 10);
    let seed = number("TESSERA_CRASH_SEED", Random::fresh_seed());
    println!("{rounds} rounds; repeat with TESSERA_CRASH_SEED={seed}");
    let mut random = Random::new(seed);
    let mut world = World::start().await;

    let reader = world.user("reader").await;
    // Everyone may set state, each sender under a key of its own.
    let open = json!({"state_default": 0});
    let mut rooms = Vec::new();
    for version in ["10", "12"] {
        rooms.push(
            reader
                .create_room(&json!({"preset": "public_chat", "room_version": version, "power_level_content_override": open}))
                .await
                .unwrap(),
        );
    }
    let since = reader.sync_token().await.unwrap();
    let (generation, seen_generation) = watch::channel(0_u64);
    let (stop, stopping) = watch::channel(false);
    let mut senders = Vec::new();
    for index in 0..SENDERS {
        let user = world.user(&format!("sender-{index}")).await;
        for room in &rooms {
            user.join(room).await.unwrap();
        }
        let line = load::Line::to_one(user, seen_generation.clone());
        senders.push(tokio::spawn(load::send(line, index, rooms.clone(), stopping.clone())));
    }
    let line = load::Line::to_one(reader.clone(), seen_generation.clone());
    let reading = tokio::spawn(load::read(line, since, rooms.clone()));

    let mut early = 0;
    for round in 1..=rounds {
        tokio::time::sleep(random.millis(20, 700)).await;
        world.server.kill9().await.unwrap();
        // Every fourth time it dies once more while it recovers.
        if random.below(4) == 0 {
            world.server.spawn().unwrap();
            tokio::time::sleep(random.millis(1, 400)).await;
            world.server.kill9().await.unwrap();
            early += 1;
        }
        world.server.boot().await.unwrap_or_else(|e| panic!("round {round} (seed {seed}): {e:#}"));
        generation.send_modify(|g| *g += 1);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.send(true).unwrap();
    let mut acknowledged = Vec::new();
    for sender in senders {
        acknowledged.push(sender.await.unwrap());
    }
    // The last event of all ends the reader: it has to come through like every other.
    let last = reader.text(&rooms[0], "the-last", load::LAST).await.unwrap();
    let told = reading.await.unwrap();
    assert!(told.iter().any(|e| e.event_id == last));

    let total: usize = acknowledged.iter().map(|a| a.events.len()).sum();
    println!(
        "{total} events acknowledged over {rounds} kills and {early} more while starting; seed {seed}"
    );
    // Fewer would say that the load never ran.
    assert!(total as u64 >= rounds * SENDERS as u64 / 2, "only {total} events");
    verify::history(&reader, &rooms, &acknowledged).await;
    verify::told(&told, &acknowledged);
    verify::values(&rooms[1], &acknowledged).await;
}
