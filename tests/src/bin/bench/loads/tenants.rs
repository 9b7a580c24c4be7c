//! Many server names in one process: memory of those asleep and awake, waking, and a neighbour at full load.

use std::{
    fmt::Write as _,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::json;
use tempfile::TempDir;
use tessera_tests::{
    api::Session,
    binary, http, proc,
    server::{Options as Start, Server},
};

use crate::{
    Options,
    figure::{Figure, figure},
    measure::{self, as_f64, millis, percentile},
    target::Target,
};

/// Tenants that are made at once.
const AT_ONCE: usize = 8;
/// Tenants that may be awake at once.
const AWAKE: usize = 100;
/// Share of the tenants, as a divisor, that is woken before memory is looked at: the pool of instances keeps what it
/// has once used, whoever used it.
const WARM_UP: usize = 4;
/// How long a tenant is awake without use, where it is to fall asleep.
const SLEEP_AFTER: Duration = Duration::from_secs(3);
/// How long all may take to fall asleep.
const PATIENCE: Duration = Duration::from_secs(120);
/// Connections of the tenant at full load, and requests of its quiet neighbour.
const FLOOD: usize = 32;
const PROBES: usize = 400;

pub(crate) async fn run(target: &Target, options: &Options) -> Result<Vec<Figure>> {
    if !target.is_own() {
        return Ok(Vec::new());
    }
    let count = options.clients.max(10);
    let mut figures = Vec::new();
    let few = Many::start(2, "10m").await?.rss()?;
    let mut many = Many::start(count, "10m").await?;
    let asleep = many.rss()?;
    figures.push(figure(
        format!("tenants, {count}: memory, none ever used"),
        kib(asleep) / 1024.0,
        "MiB",
    ));
    figures.push(figure(
        "tenants: memory of one that was never used",
        kib(asleep.saturating_sub(few)) / as_f64(count - 2),
        "KiB",
    ));

    let started = Instant::now();
    let users = many.use_all().await?;
    figures.push(figure(
        "tenants: made and used for the first time",
        as_f64(count) / started.elapsed().as_secs_f64(),
        "/s",
    ));
    let awake = many.rss()?;
    let at_once = AWAKE.min(count);
    figures.push(figure(
        format!("tenants, {count}: memory, all used, {at_once} of them awake"),
        kib(awake) / 1024.0,
        "MiB",
    ));
    figures.push(figure(
        "tenants: memory of one that is awake",
        kib(awake.saturating_sub(asleep)) / as_f64(at_once),
        "KiB",
    ));
    figures.extend(many.open(&format!("{at_once} awake"))?);

    // The same folder, and now they fall asleep.
    many.restart(&format!("{}s", SLEEP_AFTER.as_secs())).await?;
    let before = many.files()?;
    let (warm_up, others) = users.split_at(count / WARM_UP);
    let mut wakes = wake(warm_up).await?;
    many.all_asleep(before).await?;
    let warm = many.rss()?;
    wakes.extend(wake(others).await?);
    many.all_asleep(before).await?;
    figures.push(figure(
        "tenants: first request to a sleeper, p50",
        millis(percentile(&mut wakes, 0.5)),
        "ms",
    ));
    figures.push(figure(
        "tenants: first request to a sleeper, p99",
        millis(percentile(&mut wakes, 0.99)),
        "ms",
    ));
    let rss = many.rss()?;
    figures.push(figure(
        format!("tenants, {count}: memory, all asleep again"),
        kib(rss) / 1024.0,
        "MiB",
    ));
    figures.push(figure(
        "tenants: memory of one that fell asleep",
        kib(rss.saturating_sub(warm)) / as_f64(others.len()),
        "KiB",
    ));
    figures.extend(many.open("all asleep")?);
    drop(many);
    figures.extend(neighbour(options).await?);
    Ok(figures)
}

/// The time of the first request to each.
async fn wake(sleepers: &[Session]) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for user in sleepers {
        let started = Instant::now();
        user.get("/account/whoami").await?;
        times.push(started.elapsed());
    }
    Ok(times)
}

fn kib(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "memory stays far below 2^52 bytes")]
    let bytes = bytes as f64;
    bytes / 1024.0
}

fn name(index: usize) -> String {
    format!("t{index}.example")
}

/// A server with many tenants, on SQLite.
struct Many {
    server: Server,
    count: usize,
    folder: TempDir,
    http: reqwest::Client,
}

impl Many {
    async fn start(count: usize, sleep_after: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("tessera.toml");
        fs::write(&config, descriptor(count, sleep_after)?)?;
        let start = Start {
            config: Some(config),
            server_name: String::new(),
            host: Some(name(0)),
            ..Start::release()?
        };
        let server = Server::start_with(start).await?;
        Ok(Self { server, count, folder, http: http::client_of_hosts()? })
    }

    /// Stops it and starts it again with another time until tenants fall asleep.
    async fn restart(&mut self, sleep_after: &str) -> Result<()> {
        self.server.stop(Duration::from_secs(60)).await?;
        let config = self.folder.path().join("tessera.toml");
        fs::write(&config, descriptor(self.count, sleep_after)?)?;
        self.server.boot().await
    }

    fn url(&self, index: usize) -> String {
        format!("http://{}:{}", name(index), self.server.address().port())
    }

    /// A user, a room and a message in each tenant.
    async fn use_all(&self) -> Result<Vec<Session>> {
        let tasks: Vec<_> = (0..AT_ONCE)
            .map(|worker| {
                let urls: Vec<String> =
                    (worker..self.count).step_by(AT_ONCE).map(|index| self.url(index)).collect();
                let http = self.http.clone();
                tokio::spawn(async move {
                    let mut users = Vec::new();
                    for url in urls {
                        let user = Session::register(&http, &url, "first").await?;
                        let room = user.create_room(&json!({"preset": "public_chat"})).await?;
                        user.text(&room, "txn", "the first message").await?;
                        users.push(user);
                    }
                    Ok::<_, anyhow::Error>(users)
                })
            })
            .collect();
        let mut users = Vec::new();
        for task in tasks {
            users.extend(task.await.context("a worker panicked")??);
        }
        Ok(users)
    }

    fn pid(&self) -> Result<u32> {
        self.server.pid().context("the server has ended")
    }

    fn rss(&self) -> Result<u64> {
        proc::rss(self.pid()?)
    }

    fn files(&self) -> Result<usize> {
        proc::files(self.pid()?)
    }

    /// Waits until no more files are open than before any tenant was awake.
    async fn all_asleep(&self, before: usize) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        // Connections of ours may stay open.
        while self.files()? > before + 8 {
            anyhow::ensure!(
                Instant::now() < until,
                "{} files are open of the {before} before the tenants were woken",
                self.files()?
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    fn open(&self, when: &str) -> Result<Vec<Figure>> {
        let threads = proc::threads(self.pid()?)?;
        Ok(vec![
            figure(
                format!("tenants, {}: files open, {when}", self.count),
                as_f64(self.files()?),
                "",
            ),
            figure(format!("tenants, {}: threads, {when}", self.count), as_f64(threads), ""),
        ])
    }
}

fn descriptor(count: usize, sleep_after: &str) -> Result<String> {
    let testing = binary::testing_config().map(fs::read_to_string).transpose()?;
    let mut text = testing.unwrap_or_default();
    write!(text, "\n[sleep]\nafter = {sleep_after:?}\nawake-max = {AWAKE}\n")?;
    for index in 0..count {
        write!(text, "\n[tenants.{:?}]\n", name(index))?;
    }
    Ok(text)
}

/// The latency of a quiet tenant alone, and beside one whose clients send all they can.
async fn neighbour(options: &Options) -> Result<Vec<Figure>> {
    let many = Many::start(2, "10m").await?;
    let users = many.use_all().await?;
    let [quiet, loud] = users.as_slice() else { anyhow::bail!("wanted two users") };
    let mut alone = probe(quiet, "alone").await?;
    let room = loud.create_room(&json!({"preset": "public_chat"})).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let (loud, stopping) = (loud.clone(), stop.clone());
    let patience = options.patience() * 4;
    let flood = tokio::spawn(async move {
        measure::run(FLOOD, usize::MAX, patience, move |worker, turn| {
            let (loud, room, stopping) = (loud.clone(), room.clone(), stopping.clone());
            async move {
                if stopping.load(Ordering::Relaxed) {
                    // Nothing more is sent; the turns run out quickly.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    return Ok(());
                }
                loud.text(&room, &format!("flood-{worker}-{turn}"), "as fast as it goes")
                    .await
                    .map(drop)
            }
        })
        .await
    });
    let beside = probe(quiet, "beside").await;
    stop.store(true, Ordering::Relaxed);
    flood.abort();
    let mut beside = beside?;
    let (before, after) = (percentile(&mut alone, 0.99), percentile(&mut beside, 0.99));
    Ok(vec![
        figure("tenants: send of a quiet tenant, p50", millis(percentile(&mut alone, 0.5)), "ms"),
        figure("tenants: send of a quiet tenant, p99", millis(before), "ms"),
        figure("tenants: beside one at full load, p50", millis(percentile(&mut beside, 0.5)), "ms"),
        figure("tenants: beside one at full load, p99", millis(after), "ms"),
        figure(
            "tenants: p99 beside one at full load against alone",
            millis(after) / millis(before),
            "×",
        ),
    ])
}

/// Sends one message after the other, with pauses.
async fn probe(user: &Session, tag: &str) -> Result<Vec<Duration>> {
    let room = user.create_room(&json!({"preset": "public_chat"})).await?;
    let mut times = Vec::new();
    for turn in 0..PROBES {
        let started = Instant::now();
        user.text(&room, &format!("{tag}-{turn}"), "a quiet message").await?;
        times.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(times)
}
