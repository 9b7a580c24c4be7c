//! Sending: spread over many rooms, and into one.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};

use crate::{
    Options,
    figure::{Figure, figure},
    measure::{self, Window, millis, percentile},
    people::{People, Room},
    target::Target,
};

/// Events at most, so that a fast server does not fill the disk.
const MOST: usize = 20_000;
/// Events before the measurement.
const WARM_UP: usize = 60;

pub(crate) async fn spread(target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
    let users = target.people.users(60).await?;
    let rooms = People::rooms(&users, 30, 10).await?;
    load(target, options, "spread", rooms, 16).await
}

pub(crate) async fn hot(target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
    let users = target.people.users(50).await?;
    let mut figures = Vec::new();
    for senders in [8, 32] {
        let room = People::rooms(&users, 1, 50).await?;
        figures.extend(
            load(target, options, &format!("hot, {senders} senders"), room, senders).await?,
        );
    }
    Ok(figures)
}

/// The figures of one load.
async fn load(
    target: &Target,
    options: &Options,
    name: &str,
    rooms: Vec<Room>,
    senders: usize,
) -> Result<Vec<Figure>> {
    let rooms = Arc::new(rooms);
    let tag = name.replace([' ', ','], "-");
    send(&rooms, &format!("warm-{tag}"), senders, WARM_UP, Duration::from_secs(20)).await?;
    let window = Window::open(target.pid)?;
    let mut latencies = send(&rooms, &tag, senders, MOST, options.patience()).await?;
    let spent = window.close()?;
    let count = latencies.len();
    let mut figures = Vec::new();
    figures.extend(
        spent.cpu_ms_each(count).map(|ms| figure(format!("{name}: CPU per event"), ms, "ms")),
    );
    figures.push(figure(format!("{name}: events"), spent.rate(count), "/s"));
    for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
        figures.push(figure(
            format!("{name}: {label}"),
            millis(percentile(&mut latencies, share)),
            "ms",
        ));
    }
    Ok(figures)
}

/// Sends until `most` events or the time is over; the latency of each.
pub(crate) async fn send(
    rooms: &Arc<Vec<Room>>,
    tag: &str,
    senders: usize,
    most: usize,
    patience: Duration,
) -> Result<Vec<Duration>> {
    let (rooms, tag) = (rooms.clone(), tag.to_owned());
    measure::run(senders, most, patience, move |worker, turn| {
        let (rooms, tag) = (rooms.clone(), tag.clone());
        async move {
            let room = rooms.get(turn % rooms.len()).context("room")?;
            let sender = room
                .members
                .get((worker + turn / rooms.len()) % room.members.len())
                .context("member")?;
            let body = format!("message {turn} of the load, of about the length that people write");
            sender.text(&room.id, &format!("{tag}-{turn}"), &body).await.map(drop)
        }
    })
    .await
}
