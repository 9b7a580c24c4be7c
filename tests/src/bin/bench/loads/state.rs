//! State changes: joins, leaves and topics mixed, in one room of 50.

use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    Options,
    figure::{Figure, figure},
    measure::{self, Window},
    people::People,
    target::Target,
};

/// Workers at once; each has members of its own, so that nobody leaves twice.
const WORKERS: usize = 8;
/// Changes at most.
const MOST: usize = 10_000;

pub(crate) async fn run(target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
    let users = target.people.users(50).await?;
    let rooms = People::rooms(&users, 1, 50).await?;
    let room = Arc::new(rooms.into_iter().next().context("no room")?);
    let turns =
        Arc::new(std::array::from_fn::<_, WORKERS, _>(|_| std::sync::atomic::AtomicUsize::new(0)));
    let window = Window::open(target.pid)?;
    let latencies = measure::run(WORKERS, MOST, options.patience(), move |worker, turn| {
        let (room, turns) = (room.clone(), turns.clone());
        async move {
            // The worker's own count: leave, join, topic, leave, join, topic …
            let mine = turns
                .get(worker)
                .context("worker")?
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let member =
                room.members.get(1 + worker + WORKERS * (mine / 3 % 6)).context("member")?;
            match mine % 3 {
                0 => member.post(&format!("/rooms/{}/leave", room.id), &json!({})).await.map(drop),
                1 => member.join(&room.id).await,
                _ => {
                    let maker = room.members.first().context("maker")?;
                    let path = format!("/rooms/{}/state/m.room.topic/", room.id);
                    maker.put(&path, &json!({"topic": format!("topic {turn}")})).await.map(drop)
                }
            }
        }
    })
    .await?;
    let spent = window.close()?;
    let mut figures = vec![figure("state: changes", spent.rate(latencies.len()), "/s")];
    figures
        .extend(spent.cpu_ms_each(latencies.len()).map(|ms| figure("state: CPU each", ms, "ms")));
    Ok(figures)
}
