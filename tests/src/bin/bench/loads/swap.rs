//! A plug-in that is swapped under load: what clients notice of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::json;
use tessera_tests::{
    api::Session,
    http,
    server::{Options as Start, Server},
    version,
};

use crate::{
    figure::{Figure, figure},
    measure::{millis, percentile},
};

/// Clients that send one message after the other.
const CLIENTS: usize = 8;
/// Length of each part: before, while it is swapped to and fro, and after.
const PART: Duration = Duration::from_secs(5);
const PARTS: [&str; 3] = ["before", "during", "after"];

/// Latencies of each part, and how many requests failed.
type Sent = ([Vec<Duration>; 3], usize);

pub(super) async fn run() -> Result<Vec<Figure>> {
    let mut server = Server::start_with(Start::release()?).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rooms-next.wasm");
    version::write("rooms", "0.9.9", &file, |text| text)?;
    let file = file.to_str().context("the path is no text")?;
    let part = Arc::new(AtomicU8::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let client = http::client()?;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let user = Session::register(&client, &server.url(), &format!("swap-{number}")).await?;
        let room = user.create_room(&json!({})).await?;
        user.text(&room, "warm", "before it is measured").await?;
        let (part, over) = (Arc::clone(&part), Arc::clone(&over));
        clients.push(tokio::spawn(send(user, room, part, over)));
    }
    tokio::time::sleep(PART).await;
    part.store(1, Ordering::Release);
    let (started, mut swaps) = (Instant::now(), 0_u32);
    let mut changes = Vec::new();
    while started.elapsed() < PART {
        let begun = Instant::now();
        if swaps.is_multiple_of(2) {
            server.tool(&["plugin", "swap", "rooms", file, "--yes"]).await?;
        } else {
            server.tool(&["plugin", "rollback", "rooms", "--yes"]).await?;
        }
        changes.push(begun.elapsed());
        swaps = swaps.saturating_add(1);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    part.store(2, Ordering::Release);
    tokio::time::sleep(PART).await;
    over.store(true, Ordering::Release);
    let (mut all, mut failed): Sent = (Default::default(), 0);
    for client in clients {
        let (latencies, lost) = client.await?;
        failed = failed.saturating_add(lost);
        for (into, from) in all.iter_mut().zip(latencies) {
            into.extend(from);
        }
    }
    server.stop(Duration::from_secs(30)).await?;
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let failed = failed as f64;
    let mut figures = vec![
        figure("swap under load: swaps", f64::from(swaps), ""),
        figure("swap under load: failed requests", failed, ""),
        figure("swap under load: the command, p50", millis(percentile(&mut changes, 0.5)), "ms"),
    ];
    for (name, latencies) in PARTS.into_iter().zip(&mut all) {
        let p99 = millis(percentile(latencies, 0.99));
        figures.push(figure(format!("swap under load: send p99 {name}"), p99, "ms"));
    }
    Ok(figures)
}

async fn send(user: Session, room: String, part: Arc<AtomicU8>, over: Arc<AtomicBool>) -> Sent {
    let (mut latencies, mut failed): Sent = (Default::default(), 0);
    let mut turn = 0_u64;
    while !over.load(Ordering::Acquire) {
        turn = turn.saturating_add(1);
        let now = usize::from(part.load(Ordering::Acquire));
        let begun = Instant::now();
        match user.text(&room, &format!("t{turn}"), "a message of the load").await {
            Ok(_) => {
                if let Some(into) = latencies.get_mut(now) {
                    into.push(begun.elapsed());
                }
            }
            Err(_) => failed = failed.saturating_add(1),
        }
    }
    (latencies, failed)
}
