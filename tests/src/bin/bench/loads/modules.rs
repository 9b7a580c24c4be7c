//! What modules cost: in the engine alone, and in a message's way through the front door.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;
use tessera_tests::{
    api::Session,
    binary, http,
    server::{Options as Start, Server},
};

use crate::{
    Options,
    figure::{Figure, figure},
    loads::{engine, swap},
    measure::{Window, millis, percentile},
    target::Target,
};

/// Rounds of each server, in turn; the middle one counts.
const ROUNDS: usize = 9;
/// Messages of one round: enough that the CPU clock of `/proc` (10 ms) is exact to some microseconds.
const MESSAGES: usize = 400;

/// Names and files of the checker in three languages.
const CHECKERS: [(&str, &str); 3] =
    [("Rust", "checker-rust"), ("JavaScript", "checker-javascript"), ("Python", "checker-python")];

/// A server with one module or none, and a user who sends.
struct Side {
    name: &'static str,
    server: Server,
    user: Session,
    room: String,
    /// Of each round: CPU of a message and its p50, both in microseconds.
    rounds: Vec<(f64, f64)>,
}

pub(crate) async fn run(target: &Target, _options: &Options) -> Result<Vec<Figure>> {
    if !target.is_own() {
        return Ok(Vec::new());
    }
    let mut figures = engine::parts(&["modules"]).await?;
    let mut sides = vec![Side::start("no module", None).await?];
    for (name, file) in CHECKERS {
        sides.push(Side::start(name, Some(file)).await.with_context(|| name.to_owned())?);
    }
    for round in 0..=ROUNDS {
        for side in &mut sides {
            side.round(round).await.with_context(|| side.name.to_owned())?;
        }
    }
    let mut without = (0.0, 0.0);
    for side in &mut sides {
        let (cpu, p50) = side.middle();
        let name = side.name;
        if name == "no module" {
            without = (cpu, p50);
            figures.push(figure("send, one after the other, no module: p50", p50, "µs"));
            figures.push(figure("send, one after the other, no module: CPU", cpu, "µs"));
        } else {
            figures.push(figure(format!("send, {name} checker: p50 added"), p50 - without.1, "µs"));
            figures.push(figure(format!("send, {name} checker: CPU added"), cpu - without.0, "µs"));
        }
    }
    drop(sides);
    figures.extend(swap::run().await?);
    Ok(figures)
}

impl Side {
    async fn start(name: &'static str, file: Option<&str>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("tessera.toml");
        let testing = binary::testing_config().context("no testing descriptor")?;
        let mut config = std::fs::read_to_string(testing)?;
        if let Some(file) = file {
            let source = binary::fixtures()?.join(format!("{file}.wasm"));
            config.push_str(&format!(
                "\n[plugins.{file}]\nsource = {:?}\ngrants = \"asked\"\n",
                std::path::absolute(source)?
            ));
        }
        std::fs::write(&path, config)?;
        let server = Server::start_with(Start { config: Some(path), ..Start::release()? }).await?;
        let user = Session::register(&http::client()?, &server.url(), "sender").await?;
        let room = user.create_room(&json!({"preset": "private_chat"})).await?;
        if file.is_some() {
            // It would be no measurement if nobody asked it.
            let refused = user.text(&room, "refused", "come to the casino").await;
            anyhow::ensure!(refused.is_err(), "the module is not asked");
        }
        Ok(Self { name, server, user, room, rounds: Vec::new() })
    }

    /// Sends a round; the first warms up and is not kept.
    async fn round(&mut self, round: usize) -> Result<()> {
        let window = Window::open(self.server.pid())?;
        let mut latencies = Vec::with_capacity(MESSAGES);
        for turn in 0..MESSAGES {
            let body = format!("message {turn} of the load, of about the length that people write");
            let started = Instant::now();
            self.user.text(&self.room, &format!("{round}-{turn}"), &body).await?;
            latencies.push(started.elapsed());
        }
        let cpu = window.close()?.cpu_ms_each(MESSAGES).context("no process")?;
        if round > 0 {
            self.rounds.push((cpu * 1000.0, millis(percentile(&mut latencies, 0.5)) * 1000.0));
        }
        Ok(())
    }

    /// The middle of the rounds' CPU and of their p50.
    fn middle(&mut self) -> (f64, f64) {
        let of = |part: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = self.rounds.iter().map(part).collect();
            values.sort_unstable_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        (of(|round| round.0), of(|round| round.1))
    }
}
