//! Search: a word that few messages have, one that very many have, the newest and the best first.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{SETUP, of};
use crate::{
    Options,
    figure::{Figure, figure},
    measure::{self, Window, as_f64},
    people::People,
    target::Target,
};

const ROOMS: usize = 10;
const SEARCHES: usize = 100;
/// One message in so many has the rare word.
const RARE: usize = 10_000;
const WORDS: [&str; 12] = [
    "apple", "bridge", "candle", "desert", "engine", "forest", "garden", "harbour", "island",
    "jungle", "kettle", "lantern",
];

pub(super) async fn run(target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
    let users = target.people.users(20).await?;
    let rooms = Arc::new(People::rooms(&users, ROOMS, 2).await?);
    let count = options.messages;
    eprintln!("  writing {count} messages");
    let all = rooms.clone();
    let window = Window::open(target.pid)?;
    let made = measure::run(32, count, SETUP, move |_, turn| {
        let all = all.clone();
        async move {
            let room = all.get(turn % ROOMS).context("room")?;
            let sender = room.members.get(turn / ROOMS % 2).context("member")?;
            let word = |step: usize| WORDS.get((turn / step) % WORDS.len()).unwrap_or(&"word");
            let rare = if turn % RARE == 7 { " quicksilver" } else { "" };
            let body = format!("the {} and the {} near a {}{rare}", word(1), word(13), word(151));
            sender.text(&room.id, &format!("words-{turn}"), &body).await.map(drop)
        }
    })
    .await?;
    let written = window.close()?;
    let mut figures = vec![figure("search: messages", as_f64(made.len()), "")];
    figures.push(figure("search: filling", written.rate(made.len()), "/s"));

    let reader = rooms.first().and_then(|room| room.members.first()).context("no room")?;
    for room in rooms.iter().skip(1) {
        reader.join(&room.id).await?;
    }
    for (name, words, order) in [
        ("search: rare word, newest", "quicksilver", "recent"),
        ("search: rare word, best", "quicksilver", "rank"),
        ("search: common words, newest", "apple near", "recent"),
        ("search: common words, best", "apple near", "rank"),
    ] {
        let body = json!({"search_categories": {"room_events": {
            "search_term": words, "order_by": order, "filter": {"limit": 10},
        }}});
        let window = Window::open(target.pid)?;
        let reader = reader.clone();
        let patience = options.patience().max(Duration::from_secs(20));
        let mut latencies = measure::run(1, SEARCHES, patience, move |_, _| {
            let (reader, body) = (reader.clone(), body.clone());
            async move {
                let answer = reader.post("/search", &body).await?;
                let found = answer.pointer("/search_categories/room_events/results");
                let found = found.and_then(|results| results.as_array()).map_or(0, Vec::len);
                ensure!(found > 0, "nothing found");
                Ok(())
            }
        })
        .await?;
        figures.extend(of(name, window.close()?, &mut latencies));
    }
    Ok(figures)
}
