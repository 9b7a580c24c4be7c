//! Every node in turn is stopped and started again under load: no request fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tessera_tests::{
    api::{self, Session},
    cluster::{Cluster, Layout},
    http,
};

const SENDERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_request() {
    let mut cluster = Cluster::start(&Layout::ring(3)).await.unwrap();
    cluster.ready().await.unwrap();
    let gateway = cluster.gateway().await.unwrap();
    let client = http::client().unwrap();
    let owner = Session::register(&client, &gateway.url(), "owner").await.unwrap();
    let room = owner.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for index in 0..SENDERS {
        let (owner, room, stop, done) = (owner.clone(), room.clone(), stop.clone(), done.clone());
        tasks.push(tokio::spawn(async move {
            let mut since = owner.sync_token().await.unwrap();
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                // Each request is answered, and answered well, the first time it is asked.
                let sent = owner.text(&room, &format!("s{index}-{n}"), "text").await.unwrap();
                owner.get(&format!("/rooms/{room}/event/{sent}")).await.unwrap();
                let sync = owner.sync(Some(&since), Duration::from_secs(2), "").await.unwrap();
                since = api::string(&sync, "next_batch").unwrap();
                done.fetch_add(3, Ordering::Relaxed);
            }
        }));
    }
    for index in 0..cluster.nodes.len() {
        progress(&done, 60).await;
        let status = if index == 0 {
            cluster.nodes[index].stop(PATIENCE).await.unwrap()
        } else {
            // Asked for at another node.
            cluster.nodes[0].tool(&["nodes", "drain", &format!("n{}", index + 1)]).await.unwrap();
            cluster.nodes[index].ends_within(PATIENCE).await.unwrap()
        };
        assert!(status.success(), "node {index} ended with {status}");
        progress(&done, 60).await;
        cluster.nodes[index].boot().await.unwrap();
        http::wait_for_200(&cluster.metrics_url(index, "/ready")).await.unwrap();
    }
    progress(&done, 60).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    println!("{} requests while three nodes were restarted", done.load(Ordering::Relaxed));
    assert_eq!(gateway.failures(), 0);
}

/// Waits until so many more requests were answered.
async fn progress(done: &AtomicU64, more: u64) {
    let goal = done.load(Ordering::Relaxed) + more;
    let wait = async {
        while done.load(Ordering::Relaxed) < goal {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the load stands still");
}
