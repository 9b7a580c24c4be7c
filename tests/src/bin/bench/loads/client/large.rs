//! One very large room: joining it, sending into it, changing its state, a member's first sync, and reading back.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{SETUP, of};
use crate::{
    Options,
    figure::Figure,
    measure::{self, Window},
    target::Target,
};

/// Joins that are measured: the last ones, when the room is large.
const LAST: usize = 500;
const SENDS: usize = 2_000;
const CHANGES: usize = 200;
/// Pages of its history, read one after the other.
const PAGES: usize = 200;

pub(super) async fn run(target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
    let count = options.large.max(LAST * 2);
    eprintln!("  registering {count} users");
    let users = Arc::new(target.people.users(count).await?);
    let maker = users.first().context("no users")?;
    let room: Arc<str> = maker.create_room(&json!({"preset": "public_chat"})).await?.into();
    eprintln!("  {count} users join one room");
    let join = |from: usize| {
        let (users, room) = (users.clone(), room.clone());
        move |_: usize, turn: usize| {
            let (users, room) = (users.clone(), room.clone());
            async move { users.get(from + turn).context("user")?.join(&room).await }
        }
    };
    measure::run(16, count - LAST - 1, SETUP, join(1)).await?;
    let window = Window::open(target.pid)?;
    let mut latencies = measure::run(16, LAST, SETUP, join(count - LAST)).await?;
    let mut figures = of(&format!("room of {count}: join"), window.close()?, &mut latencies);

    let send = |tag: &'static str| {
        let (senders, into) = (users.clone(), room.clone());
        move |_: usize, turn: usize| {
            let (senders, into) = (senders.clone(), into.clone());
            async move {
                let sender = senders.get(turn * 37 % senders.len()).context("user")?;
                sender.text(&into, &format!("{tag}-{turn}"), "to all of you").await.map(drop)
            }
        }
    };
    eprintln!("  {} messages go into it", options.history);
    measure::run(8, options.history, SETUP, send("history")).await?;
    let window = Window::open(target.pid)?;
    let mut latencies = measure::run(8, SENDS, options.patience(), send("large")).await?;
    figures.extend(of(&format!("room of {count}: send"), window.close()?, &mut latencies));

    let window = Window::open(target.pid)?;
    let (owner, into) = (maker.clone(), room.clone());
    let mut latencies = measure::run(1, CHANGES, options.patience(), move |_, turn| {
        let (owner, into) = (owner.clone(), into.clone());
        async move {
            let path = format!("/rooms/{into}/state/m.room.topic/");
            owner.put(&path, &json!({"topic": format!("topic {turn}")})).await.map(drop)
        }
    })
    .await?;
    figures.extend(of(&format!("room of {count}: topic"), window.close()?, &mut latencies));

    let lazy =
        "&filter=%7B%22room%22%3A%7B%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%7D%7D";
    for (form, query) in [("first sync", ""), ("first sync, lazy", lazy)] {
        let window = Window::open(target.pid)?;
        let reader = users.last().context("no users")?.clone();
        let mut latencies = measure::run(1, 10, options.patience(), move |_, _| {
            let reader = reader.clone();
            async move { reader.sync(None, Duration::ZERO, query).await.map(drop) }
        })
        .await?;
        figures.extend(of(&format!("room of {count}: {form}"), window.close()?, &mut latencies));
    }

    let window = Window::open(target.pid)?;
    let (reader, from) = (maker.clone(), room.clone());
    let token = Arc::new(tokio::sync::Mutex::new(String::new()));
    let mut latencies = measure::run(1, PAGES, options.patience(), move |_, _| {
        let (reader, from, token) = (reader.clone(), from.clone(), token.clone());
        async move {
            let mut token = token.lock().await;
            let since = if token.is_empty() { String::new() } else { format!("&from={token}") };
            let page =
                reader.get(&format!("/rooms/{from}/messages?dir=b&limit=100{since}")).await?;
            *token = page.get("end").and_then(Value::as_str).unwrap_or_default().to_owned();
            Ok(())
        }
    })
    .await?;
    figures.extend(of(&format!("room of {count}: page of 100"), window.close()?, &mut latencies));
    Ok(figures)
}
