//! One process against several on the same cores, and what lies between them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use reqwest::Method;
use serde_json::json;
use tessera_test_services::{TestDatabase, process};
use tessera_tests::{
    api::{self, Session},
    binary,
    cluster::{Cluster, Layout, Services},
    http, proc,
    server::{Options as Start, Server},
};

use super::send;
use crate::{
    Options,
    figure::{Figure, figure},
    measure::{as_f64, millis, percentile},
    people::{People, Room},
    target::Target,
};

/// Events at most.
const MOST: usize = 20_000;
const WARM_UP: usize = 100;
const SENDERS: usize = 16;
/// Requests one after the other, for the time of one call.
const CALLS: usize = 1000;
/// Messages of which each wakes one poll.
const WAKES: usize = 200;
/// How long after the load the consumers of topics may be at work.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) async fn run(target: &Target, options: &Options) -> Result<Vec<Figure>> {
    if !target.is_own() {
        return Ok(Vec::new());
    }
    let mut figures = Vec::new();
    let sqlite = one_process(None, options).await?;
    figures.extend(sqlite.figures("one process, SQLite"));
    let one = one_process(Some(Services::own()?), options).await?;
    figures.extend(one.figures("one process"));
    figures.push(ratio("nodes: PostgreSQL against SQLite, CPU", one.cpu_each(), sqlite.cpu_each()));
    figures.push(ratio(
        "nodes: PostgreSQL against SQLite, CPU of the server alone",
        one.server_each(),
        sqlite.server_each(),
    ));
    for (name, layout) in [
        ("two nodes with everything", Layout::replicas(2)),
        ("three nodes with everything", Layout::replicas(3)),
        ("three nodes with parts", Layout::ring(3)),
    ] {
        eprintln!("  {name}");
        let cluster = start(layout).await?;
        let spent = spread(&Servers::of(&cluster)?, options).await?;
        figures.extend(spent.figures(name));
        figures.push(percent(
            &format!("nodes: {name} against one process"),
            spent.rate(),
            one.rate(),
        ));
        if name == "three nodes with parts" {
            figures.extend(calls(&cluster).await?);
            figures.extend(wakes(&cluster).await?);
        }
    }
    Ok(figures)
}

async fn start(layout: Layout) -> Result<Cluster> {
    let layout = Layout { release: true, ..layout.with_own_services() };
    let cluster = Cluster::start(&layout).await?;
    cluster.ready().await?;
    Ok(cluster)
}

/// Where a load goes and whose CPU it costs.
struct Servers<'a> {
    urls: Vec<String>,
    pids: Vec<u32>,
    postgres: Option<u32>,
    nats: Option<u32>,
    database: Option<&'a TestDatabase>,
}

impl<'a> Servers<'a> {
    fn of(cluster: &'a Cluster) -> Result<Self> {
        let pids = cluster.nodes.iter().map(|node| node.pid().context("a node has ended"));
        Ok(Self {
            urls: cluster.urls(),
            pids: pids.collect::<Result<_>>()?,
            postgres: cluster.services.postgres.as_ref().and_then(|server| server.pid()),
            nats: cluster.services.nats.as_ref().and_then(|server| server.pid()),
            database: Some(&cluster.services.database),
        })
    }

    /// Bytes that PostgreSQL keeps, and connections to it; zero without it.
    fn stored(&self) -> Result<(f64, f64)> {
        let Some(database) = self.database else { return Ok((0.0, 0.0)) };
        let sql = "SELECT pg_database_size(current_database()), \
                   (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) - 1";
        let said = database.sql(sql).map_err(|failure| anyhow!(failure))?;
        let (bytes, connections) = said.trim().split_once('|').context("no two columns")?;
        Ok((bytes.parse()?, connections.parse()?))
    }

    fn cpu(&self) -> Result<Cpu> {
        let mut server = Duration::ZERO;
        for pid in &self.pids {
            server += proc::cpu(*pid)?;
        }
        let family = |pid: Option<u32>| pid.map_or(Duration::ZERO, process::cpu_of_family);
        Ok(Cpu { server, postgres: family(self.postgres), nats: family(self.nats) })
    }
}

#[derive(Debug, Clone, Copy)]
struct Cpu {
    server: Duration,
    postgres: Duration,
    nats: Duration,
}

/// What a load of sends cost.
struct Spent {
    count: usize,
    wall: Duration,
    cpu: Cpu,
    latencies: Vec<Duration>,
    postgres: bool,
    nats: bool,
    /// Bytes that each event added to PostgreSQL, its share of the consumers' work included.
    bytes_each: f64,
    connections: f64,
}

impl Spent {
    fn rate(&self) -> f64 {
        as_f64(self.count) / self.wall.as_secs_f64()
    }

    fn server_each(&self) -> f64 {
        millis(self.cpu.server) / as_f64(self.count)
    }

    /// Server, PostgreSQL and NATS together.
    fn cpu_each(&self) -> f64 {
        millis(self.cpu.server + self.cpu.postgres + self.cpu.nats) / as_f64(self.count)
    }

    fn figures(&self, name: &str) -> Vec<Figure> {
        let each = |cpu: Duration| millis(cpu) / as_f64(self.count);
        let mut latencies = self.latencies.clone();
        let label = format!("nodes, {name}");
        let mut figures = vec![
            figure(format!("nodes, {name}: events"), self.rate(), "/s"),
            figure(format!("nodes, {name}: p50"), millis(percentile(&mut latencies, 0.5)), "ms"),
            figure(format!("nodes, {name}: p99"), millis(percentile(&mut latencies, 0.99)), "ms"),
            figure(format!("nodes, {name}: CPU per event, servers"), each(self.cpu.server), "ms"),
        ];
        if self.postgres {
            let name = format!("nodes, {name}: CPU per event, PostgreSQL");
            figures.push(figure(name, each(self.cpu.postgres), "ms"));
            figures.push(figure(
                format!("{label}: stored per event"),
                self.bytes_each / 1024.0,
                "KiB",
            ));
            figures.push(figure(
                format!("{label}: connections to PostgreSQL"),
                self.connections,
                "",
            ));
        }
        if self.nats {
            let name = format!("nodes, {name}: CPU per event, NATS");
            figures.push(figure(name, each(self.cpu.nats), "ms"));
        }
        figures
    }
}

fn ratio(name: &str, value: f64, other: f64) -> Figure {
    figure(name, value / other, "×")
}

fn percent(name: &str, value: f64, other: f64) -> Figure {
    figure(name, 100.0 * value / other, "%")
}

/// A server without nodes, on SQLite or on PostgreSQL.
async fn one_process(services: Option<Services>, options: &Options) -> Result<Spent> {
    eprintln!("  one process{}", if services.is_some() { "" } else { ", SQLite" });
    let folder = tempfile::tempdir()?;
    let mut start = Start::release()?;
    if let Some(services) = &services {
        let testing = binary::testing_config().map(std::fs::read_to_string).transpose()?;
        let config = folder.path().join("tessera.toml");
        let text = format!("{}\n{}", testing.unwrap_or_default(), services.storage());
        std::fs::write(&config, text)?;
        start.config = Some(config);
    }
    let server = Server::start_with(start).await?;
    let servers = Servers {
        urls: vec![server.url()],
        pids: vec![server.pid().context("no process")?],
        postgres: services.as_ref().and_then(|services| services.postgres.as_ref()?.pid()),
        nats: None,
        database: services.as_ref().map(|services| &services.database),
    };
    spread(&servers, options).await
}

/// 30 rooms of 10 members, 16 senders, each message at the next server.
async fn spread(servers: &Servers<'_>, options: &Options) -> Result<Spent> {
    let base: Arc<str> = servers.urls.first().context("no server")?.as_str().into();
    let mut people = People::new(http::client()?, base);
    let users = people.users(60).await?;
    let rooms = People::rooms(&users, 30, 10).await?;
    let rooms: Arc<Vec<Room>> =
        Arc::new(rooms.into_iter().map(|room| anywhere(room, servers)).collect());
    send::send(&rooms, "warm", SENDERS, WARM_UP, Duration::from_secs(30)).await?;
    // What setting up has left to the consumers of topics is not counted.
    tokio::time::sleep(SETTLE).await;
    let (stored, _) = servers.stored()?;
    let (before, started) = (servers.cpu()?, Instant::now());
    let latencies = send::send(&rooms, "spread", SENDERS, MOST, options.patience()).await?;
    let wall = started.elapsed();
    // What the events leave to them is.
    tokio::time::sleep(SETTLE).await;
    let after = servers.cpu()?;
    let (bytes, connections) = servers.stored()?;
    Ok(Spent {
        count: latencies.len(),
        wall,
        cpu: Cpu {
            server: after.server.saturating_sub(before.server),
            postgres: after.postgres.saturating_sub(before.postgres),
            nats: after.nats.saturating_sub(before.nats),
        },
        postgres: servers.postgres.is_some(),
        nats: servers.nats.is_some(),
        bytes_each: (bytes - stored) / as_f64(latencies.len()),
        connections,
        latencies,
    })
}

/// The members of a room, each at every server in turn.
fn anywhere(room: Room, servers: &Servers<'_>) -> Room {
    let members =
        room.members.iter().flat_map(|member| servers.urls.iter().map(|url| member.at(url)));
    Room { members: members.collect(), id: room.id }
}

/// The same request at a node that runs the plug-in and at one that asks another node for it.
async fn calls(cluster: &Cluster) -> Result<Vec<Figure>> {
    let layout = Layout::ring(3);
    let runs = |wanted: bool| {
        let found =
            layout.nodes.iter().position(|(_, run)| run.iter().any(|p| p == "accounts") == wanted);
        found.and_then(|index| cluster.nodes.get(index)).map(Server::url).context("no such node")
    };
    let here = one_by_one(&runs(true)?).await?;
    let there = one_by_one(&runs(false)?).await?;
    let micros = |time: Duration| millis(time) * 1000.0;
    Ok(vec![
        figure("nodes: request answered by its node, p50", micros(here), "µs"),
        figure("nodes: request answered by another node, p50", micros(there), "µs"),
        figure("nodes: a call to another node adds", micros(there.saturating_sub(here)), "µs"),
    ])
}

async fn one_by_one(url: &str) -> Result<Duration> {
    let client = http::client()?;
    let url = format!("{url}/_matrix/client/versions");
    let mut times = Vec::new();
    for turn in 0..CALLS + WARM_UP {
        let started = Instant::now();
        api::request(&client, Method::GET, &url, None, None).await?.ok()?;
        if turn >= WARM_UP {
            times.push(started.elapsed());
        }
    }
    Ok(percentile(&mut times, 0.5))
}

/// From the answer of a PUT at one node to the end of a poll's answer at another.
async fn wakes(cluster: &Cluster) -> Result<Vec<Figure>> {
    let client = http::client()?;
    let urls = cluster.urls();
    let [first, second, ..] = urls.as_slice() else { return Err(anyhow!("too few nodes")) };
    let sender = Session::register(&client, first, "wakes-sender").await?;
    let reader = Session::register(&client, second, "wakes-reader").await?;
    let room = sender.create_room(&json!({"preset": "public_chat"})).await?;
    reader.join(&room).await?;
    let mut since = reader.sync_token().await?;
    let mut times = Vec::new();
    for turn in 0..WAKES {
        // Counts of the message before come late and wake a poll of their own.
        loop {
            let answer = reader.sync(Some(&since), Duration::from_millis(30), "").await?;
            let next = api::string(&answer, "next_batch")?;
            if next == since {
                break;
            }
            since = next;
        }
        let (polling, from) = (reader.clone(), since.clone());
        let poll = tokio::spawn(async move {
            let answer = polling.sync(Some(&from), Duration::from_secs(20), "").await;
            (answer, Instant::now())
        });
        // The poll is parked by then.
        tokio::time::sleep(Duration::from_millis(20)).await;
        sender.text(&room, &format!("wake-{turn}"), "wake up").await?;
        let sent = Instant::now();
        let (answer, woken) = poll.await?;
        let answer = answer?;
        since = api::string(&answer, "next_batch")?;
        if !api::timeline(&answer, &room).is_empty() {
            times.push(woken.saturating_duration_since(sent));
        }
    }
    anyhow::ensure!(
        times.len() > WAKES / 2,
        "only {} polls were woken by their message",
        times.len()
    );
    Ok(vec![
        figure("nodes: wake-up at another node, p50", millis(percentile(&mut times, 0.5)), "ms"),
        figure("nodes: wake-up at another node, p99", millis(percentile(&mut times, 0.99)), "ms"),
    ])
}
