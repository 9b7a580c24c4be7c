//! First syncs: 20 rooms of 25 members with 20 messages each, with and without lazy loading.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    Options,
    figure::{Figure, figure},
    measure::{self, Window, millis, percentile},
    people::People,
    target::Target,
};

const ROOMS: usize = 20;
const MEMBERS: usize = 25;
const MESSAGES: usize = 20;
/// Syncs at most, one after the other.
const SYNCS: usize = 50;
const LAZY: &str =
    "&filter=%7B%22room%22%3A%7B%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%7D%7D";

pub(crate) async fn run(target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
    // Behind all others, so that the one who syncs is in these rooms and no others.
    let skip = 60.max(options.clients + 1);
    let users = target.people.users(skip + MEMBERS).await?;
    let users: Vec<_> = users.into_iter().skip(skip).collect();
    let rooms = Arc::new(People::rooms(&users, ROOMS, MEMBERS).await?);
    let all = rooms.clone();
    measure::run(16, ROOMS * MESSAGES, Duration::from_secs(600), move |_, turn| {
        let all = all.clone();
        async move {
            let room = all.get(turn % ROOMS).context("room")?;
            let sender = room.members.get(turn / ROOMS % MEMBERS).context("member")?;
            sender
                .text(&room.id, &format!("initial-{turn}"), "a message of the history")
                .await
                .map(drop)
        }
    })
    .await?;
    let reader = users.first().context("no users")?;
    let mut figures = Vec::new();
    for (name, query) in [("initial", ""), ("initial, lazy", LAZY)] {
        // A different filter each time would be cheating the other way: servers may well cache a first sync.
        let probe = reader.sync(None, Duration::ZERO, query).await?;
        let joined = probe.get("rooms").and_then(|r| r.get("join")).and_then(|j| j.as_object());
        ensure!(joined.is_some_and(|j| j.len() == ROOMS), "{name}: not in {ROOMS} rooms");
        let window = Window::open(target.pid)?;
        let client = reader.clone();
        let mut latencies = measure::run(1, SYNCS, options.patience(), move |_, _| {
            let client = client.clone();
            async move { client.sync(None, Duration::ZERO, query).await.map(drop) }
        })
        .await?;
        let spent = window.close()?;
        figures.extend(
            spent
                .cpu_ms_each(latencies.len())
                .map(|ms| figure(format!("{name}: CPU each"), ms, "ms")),
        );
        figures.push(figure(format!("{name}: p50"), millis(percentile(&mut latencies, 0.5)), "ms"));
    }
    Ok(figures)
}
