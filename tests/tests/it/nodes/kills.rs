//! Every process in turn is killed with -9 under load: the nodes, NATS (once with an empty store afterwards),
//! PostgreSQL. Nothing acknowledged is lost or doubled, every sender's order is kept.
//!
//! `TESSERA_CRASH_ROUNDS` (10 by default) kills each process once for every ten.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::json;
use tessera_tests::{
    api::Session,
    cluster::{Cluster, Layout},
    http,
};
use tokio::sync::watch;

use crate::{
    common::number,
    load::{self, Line, Mark, Marks},
    verify,
};

const SENDERS: usize = 6;
const READERS: usize = 3;
const NODES: usize = 3;
/// How long everybody may take to be served again. Far more than it takes: this is no measurement.
const PATIENCE: Duration = Duration::from_secs(60);
/// Load between two kills.
const CALM: Duration = Duration::from_millis(1500);

/// What is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Node(usize),
    Nats,
    /// Its store is gone, too.
    NatsAndItsStore,
    Postgres,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_killed_in_turn_loses_and_doubles_nothing() {
    let mut cluster = Cluster::start(&Layout::ring(NODES).with_own_services()).await.unwrap();
    let client = http::client().unwrap();
    let urls = cluster.urls();
    let owner = Session::register(&client, &urls[0], "reader-0").await.unwrap();
    let open = json!({"state_default": 0});
    let mut rooms = Vec::new();
    for version in ["10", "12"] {
        let options = json!({"preset": "public_chat", "room_version": version, "power_level_content_override": open});
        rooms.push(owner.create_room(&options).await.unwrap());
    }
    let marks = Arc::new(Marks::default());
    let (stop, stopping) = watch::channel(false);
    let (mut readers, mut reading) = (vec![owner.clone()], Vec::new());
    for index in 1..READERS {
        let name = format!("reader-{index}");
        let reader = Session::register(&client, &urls[index % NODES], &name).await.unwrap();
        for room in &rooms {
            reader.join(room).await.unwrap();
        }
        readers.push(reader);
    }
    let mut senders = Vec::new();
    let mut users = Vec::new();
    for index in 0..SENDERS {
        let name = format!("sender-{index}");
        let user = Session::register(&client, &urls[index % NODES], &name).await.unwrap();
        for room in &rooms {
            user.join(room).await.unwrap();
        }
        users.push(user);
    }
    for (index, reader) in readers.iter().enumerate() {
        let since = reader.sync_token().await.unwrap();
        let line = Line::to_many(reader, &urls, index).marking(&marks, index);
        reading.push(tokio::spawn(load::read(line, since, rooms.clone())));
    }
    for (index, user) in users.iter().enumerate() {
        let line = Line::to_many(user, &urls, index).marking(&marks, index);
        senders.push(tokio::spawn(load::send(line, index, rooms.clone(), stopping.clone())));
    }

    for _ in 0..number("TESSERA_CRASH_ROUNDS", 10).div_ceil(10) {
        let mut victims: Vec<_> = (0..NODES).map(Victim::Node).collect();
        victims.extend([Victim::Nats, Victim::Postgres, Victim::NatsAndItsStore]);
        for victim in victims {
            tokio::time::sleep(CALM).await;
            let killed = Instant::now();
            kill(&mut cluster, victim).await;
            let back = Instant::now();
            recovered(&marks, victim, killed, back).await;
        }
    }
    tokio::time::sleep(CALM).await;
    stop.send(true).unwrap();
    let mut acknowledged = Vec::new();
    for sender in senders {
        acknowledged.push(sender.await.unwrap());
    }
    let last = owner.text(&rooms[0], "the-last", load::LAST).await.unwrap();
    for (index, reader) in reading.into_iter().enumerate() {
        let told = tokio::time::timeout(PATIENCE, reader).await;
        let told = told.unwrap_or_else(|_| panic!("reader {index} never saw the end")).unwrap();
        assert!(told.iter().any(|e| e.event_id == last));
        verify::told(&told, &acknowledged);
    }
    let total: usize = acknowledged.iter().map(|a| a.events.len()).sum();
    println!("{total} events acknowledged");
    assert!(total > 100, "only {total} events: the load never ran");
    for url in &urls {
        verify::history(&owner.at(url), &rooms, &acknowledged).await;
    }
    verify::values(&rooms[1], &acknowledged).await;
    // Each message went through the durable topic once: unread counts are neither short nor doubled.
    for reader in &readers[1..] {
        verify::unread(reader, total + 1).await;
    }
}

/// Kills it, and starts it again: a node after 4 s, in which the others notice that it is gone.
async fn kill(cluster: &mut Cluster, victim: Victim) {
    match victim {
        Victim::Node(index) => {
            let node = &mut cluster.nodes[index];
            node.kill9().await.unwrap();
            tokio::time::sleep(Duration::from_secs(4)).await;
            node.boot().await.unwrap();
        }
        Victim::Nats | Victim::NatsAndItsStore => {
            let nats = cluster.services.nats.as_mut().unwrap();
            nats.kill();
            tokio::time::sleep(Duration::from_millis(500)).await;
            if matches!(victim, Victim::NatsAndItsStore) {
                nats.wipe().unwrap();
            }
            nats.restart().unwrap();
        }
        Victim::Postgres => {
            let postgres = cluster.services.postgres.clone().unwrap();
            postgres.kill();
            tokio::time::sleep(Duration::from_millis(500)).await;
            postgres.restart().unwrap();
        }
    }
}

/// Waits until every sender and reader was served by a request that began after the kill, and prints how long it took.
async fn recovered(marks: &Marks, victim: Victim, killed: Instant, back: Instant) {
    let until = Instant::now() + PATIENCE;
    loop {
        let sent = after(&marks.sent, killed);
        let told = after(&marks.told, killed);
        if sent.len() == SENDERS && told.len() == READERS {
            let first = |times: &[Duration]| millis(times.iter().min().copied());
            let last = |times: &[Duration]| millis(times.iter().max().copied());
            println!(
                "{victim:?} killed, back after {:.0} ms; acknowledged again: first {}, all senders {}; woken again: \
                 first {}, all readers {}",
                (back - killed).as_secs_f64() * 1000.0,
                first(&sent),
                last(&sent),
                first(&told),
                last(&told),
            );
            return;
        }
        assert!(
            Instant::now() < until,
            "{victim:?}: after {PATIENCE:?} {} of {SENDERS} senders and {} of {READERS} readers are served",
            sent.len(),
            told.len()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// For each who was served since: the time from the kill to the first answer to a request that began after it.
fn after(marks: &Mutex<Vec<Mark>>, killed: Instant) -> Vec<Duration> {
    let marks = marks.lock().unwrap();
    let mut seen = BTreeSet::new();
    let later = marks.iter().filter(|mark| mark.begun > killed);
    later.filter(|mark| seen.insert(mark.whom)).map(|mark| mark.answered - killed).collect()
}

fn millis(time: Option<Duration>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| format!("{:.0} ms", time.as_secs_f64() * 1000.0))
}
