//! A full account: many rooms of many members, synced from the start by several clients at once, then bit by bit.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{SETUP, of};
use crate::{
    Options,
    figure::Figure,
    measure::{self, Window},
    people::People,
    target::Target,
};

/// Messages in each room.
const MESSAGES: usize = 20;
/// Clients that sync at the same time, and their syncs at most.
const AT_ONCE: usize = 20;
const SYNCS: usize = 60;
/// Incremental syncs, each after one message.
const STEPS: usize = 200;

pub(super) async fn run(target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
    let (count, members) = (options.rooms, options.members.max(2));
    // Behind those of other loads, so that they are in these rooms and no others.
    let skip = 60.max(options.clients + 1) + 25;
    let users = target.people.users(skip + members).await?;
    let users: Vec<_> = users.into_iter().skip(skip).collect();
    eprintln!("  making {count} rooms of {members} members");
    let rooms = Arc::new(People::rooms(&users, count, members).await?);
    let all = rooms.clone();
    measure::run(16, count * MESSAGES, SETUP, move |_, turn| {
        let all = all.clone();
        async move {
            let room = all.get(turn % count).context("room")?;
            let sender = room.members.get(turn / count % members).context("member")?;
            let body = "a message of the history, of about the length that people write";
            sender.text(&room.id, &format!("full-{turn}"), body).await.map(drop)
        }
    })
    .await?;

    let mut figures = Vec::new();
    for (form, lazy) in [("", false), (", lazy", true)] {
        for limit in [1, 20] {
            let name = format!("first sync{form}, timeline {limit}");
            let filter = format!(
                "%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A{limit}%7D,%22state%22%3A%7B%22lazy_load_members%22%3A{lazy}%7D%7D%7D"
            );
            let query = format!("&filter={filter}");
            let reader = users.first().context("no users")?;
            let probe = reader.sync(None, Duration::ZERO, &query).await?;
            let joined = probe.pointer("/rooms/join").and_then(|rooms| rooms.as_object());
            ensure!(
                joined.is_some_and(|rooms| rooms.len() == count),
                "{name}: not in {count} rooms"
            );
            let window = Window::open(target.pid)?;
            let readers = Arc::new(users.clone());
            let patience = options.patience().saturating_mul(3);
            let mut latencies = measure::run(AT_ONCE, SYNCS, patience, move |worker, _| {
                let (readers, query) = (readers.clone(), query.clone());
                async move {
                    let reader = readers.get(worker % readers.len()).context("reader")?;
                    reader.sync(None, Duration::ZERO, &query).await.map(drop)
                }
            })
            .await?;
            figures.extend(of(&name, window.close()?, &mut latencies));
        }
    }
    figures.extend(later(target, &rooms, options).await?);
    Ok(figures)
}

/// One message in one of the rooms, one sync that tells it.
async fn later(
    target: &Target,
    rooms: &Arc<Vec<crate::people::Room>>,
    options: &Options,
) -> Result<Vec<Figure>> {
    let reader = rooms.first().and_then(|room| room.members.first()).context("no room")?;
    let since = Arc::new(tokio::sync::Mutex::new(reader.sync_token().await?));
    let window = Window::open(target.pid)?;
    let (reader, all) = (reader.clone(), rooms.clone());
    let mut latencies = measure::run(1, STEPS, options.patience(), move |_, turn| {
        let (reader, all, since) = (reader.clone(), all.clone(), since.clone());
        async move {
            let room = all.get(turn % all.len()).context("room")?;
            let sender = room.members.get(1).context("member")?;
            let event = sender.text(&room.id, &format!("later-{turn}"), "something new").await?;
            let mut since = since.lock().await;
            let answer = reader.sync(Some(&since), Duration::from_secs(5), "").await?;
            let told = tessera_tests::api::timeline(&answer, &room.id);
            ensure!(
                told.iter().any(|one| one["event_id"] == event.as_str()),
                "{event} is not told"
            );
            *since = tessera_tests::api::string(&answer, "next_batch")?;
            Ok(())
        }
    })
    .await?;
    Ok(of("a message and its sync", window.close()?, &mut latencies))
}
