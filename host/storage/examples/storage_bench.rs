//! Prints commits and reads per second: `cargo run --release --example storage_bench -p tessera-storage`,
//! on PostgreSQL with `-- --postgres postgres://user@host/database` (a database of its own).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement, not a product"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tessera_storage::{
    Batch, Database, DatabaseConfig, Durability, Message, Migration, PluginSchema, Postgres,
    PostgresConfig, Query, Session, SessionGrant, Statement, Value, Wake,
};

struct Nobody;

impl Wake for Nobody {
    fn committed(&self, _topics: &[String], _horizon: u64) {}
}

const SCHEMA: &str = "
CREATE TABLE rooms_events (position bigint PRIMARY KEY, event_id text NOT NULL UNIQUE,
  room text NOT NULL, sender text NOT NULL, json text NOT NULL);
CREATE INDEX rooms_events_room ON rooms_events (room, position);
CREATE TABLE rooms_state (room text NOT NULL, kind text NOT NULL, event_id text NOT NULL,
  PRIMARY KEY (room, kind));
CREATE TABLE rooms_edges (event_id text NOT NULL, parent text NOT NULL,
  PRIMARY KEY (event_id, parent));
CREATE TABLE rooms_versions (room text PRIMARY KEY, version bigint NOT NULL);
";

fn text(value: String) -> Value {
    Value::Text(value)
}

fn statement(sql: &str, rows: Vec<Vec<Value>>, expect: Option<u64>) -> Statement {
    Statement { sql: sql.to_owned(), rows, expect }
}

/// Six statements and some thirty parameters, like one event.
fn event(room: usize, n: usize, durability: Durability) -> Batch {
    let id = format!("$event-{room}-{n}-0123456789012345678901234567890");
    let room = format!("!room{room}:example.org");
    let json = "x".repeat(700);
    Batch {
        id: Some(id.clone()),
        statements: vec![
            statement(
                "INSERT INTO rooms_versions (room, version) VALUES ($1, 1) \
                 ON CONFLICT (room) DO UPDATE SET version = rooms_versions.version + 1",
                vec![vec![text(room.clone())]],
                Some(1),
            ),
            statement(
                "INSERT INTO rooms_events (position, event_id, room, sender, json) \
                 VALUES ($1, $2, $3, $4, $5)",
                vec![vec![
                    Value::Position(0),
                    text(id.clone()),
                    text(room.clone()),
                    text("@user:example.org".to_owned()),
                    text(json),
                ]],
                Some(1),
            ),
            statement(
                "INSERT INTO rooms_edges (event_id, parent) VALUES ($1, $2)",
                (0..3).map(|i| vec![text(id.clone()), text(format!("$parent{i}"))]).collect(),
                Some(3),
            ),
            statement(
                "DELETE FROM rooms_edges WHERE parent = $1 AND event_id = $2",
                vec![vec![text("$parent0".to_owned()), text(id.clone())]],
                None,
            ),
            statement(
                "INSERT INTO rooms_state (room, kind, event_id) VALUES ($1, $2, $3) \
                 ON CONFLICT (room, kind) DO UPDATE SET event_id = excluded.event_id",
                (0..3)
                    .map(|i| vec![text(room.clone()), text(format!("k{i}")), text(id.clone())])
                    .collect(),
                None,
            ),
            statement(
                "UPDATE rooms_state SET event_id = $3 WHERE room = $1 AND kind = $2",
                vec![vec![text(room.clone()), text("k0".to_owned()), text(id)]],
                None,
            ),
        ],
        positions: 1,
        messages: vec![Message {
            topic: "events".to_owned(),
            key: room.clone(),
            payload: "{}".to_owned(),
        }],
        wake: vec![room],
        durability,
        ..Batch::default()
    }
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks: u64 = [12, 13].iter().filter_map(|i| fields.get(*i)?.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// CPU of the server's processes for this database, as far as they are on this machine.
fn server_cpu(database: &str) -> Duration {
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.starts_with("postgres: ") && line.contains(&format!(" {database} ")) {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let fields: Vec<&str> =
                stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
            ticks +=
                [12, 13].iter().filter_map(|i| fields.get(*i)?.parse::<u64>().ok()).sum::<u64>();
        }
    }
    Duration::from_millis(ticks * 10)
}

/// The server under measurement.
#[derive(Clone)]
struct Server {
    postgres: Postgres,
    database: String,
}

async fn run<F: Future<Output = ()> + Send + 'static>(
    name: &str,
    tasks: usize,
    each: usize,
    server: Option<&Server>,
    job: impl Fn(usize, usize) -> F + Clone + Send + 'static,
) {
    let (start, before) = (Instant::now(), cpu());
    let trips = |server: &Server| server.postgres.stats().round_trips;
    let there = server.map(|s| (trips(s), server_cpu(&s.database)));
    let handles: Vec<_> = (0..tasks)
        .map(|task| {
            let job = job.clone();
            tokio::spawn(async move {
                for i in 0..each {
                    job(task, i).await;
                }
            })
        })
        .collect();
    for handle in handles {
        handle.await.unwrap();
    }
    let (took, used) = (start.elapsed(), cpu() - before);
    let count = (tasks * each) as f64;
    print!(
        "{name:32} {:9.0} /s   {:8.1} µs each in its task   {:7.1} µs CPU",
        count / took.as_secs_f64(),
        took.as_secs_f64() * 1e6 / each as f64,
        used.as_secs_f64() * 1e6 / count,
    );
    if let (Some(server), Some((trips_before, cpu_before))) = (server, there) {
        print!(
            "   {:7.1} µs CPU of the server   {:4.2} round trips",
            (server_cpu(&server.database).saturating_sub(cpu_before)).as_secs_f64() * 1e6 / count,
            (trips(server) - trips_before) as f64 / count,
        );
    }
    println!();
}

fn reading(session: Session, sql: &'static str) -> impl Fn(usize, usize) -> ReadFuture + Clone {
    let session = session.clone();
    move |task, i| {
        let session = session.clone();
        let n = i64::try_from(task * 7_919 + i * 31).unwrap() % 5_000;
        Box::pin(async move {
            let query = Query { sql: sql.to_owned(), params: vec![Value::Integer(n)] };
            session.query(query).await.unwrap();
        })
    }
}

type ReadFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let args: Vec<String> = std::env::args().collect();
    let (db, server) = match args.iter().position(|arg| arg == "--postgres") {
        Some(at) => {
            let url = args[at + 1].clone();
            let database = url.rsplit('/').next().unwrap().to_owned();
            let postgres = Postgres::connect(PostgresConfig::new(url)).await.unwrap();
            let config = DatabaseConfig::default();
            let tenant = format!("bench{}", std::process::id());
            let db = postgres.open(&tenant, config, Arc::new(Nobody)).await.unwrap();
            (db, Some(Server { postgres, database }))
        }
        None => {
            let path = dir.path().join("bench.sqlite");
            let config = DatabaseConfig::default();
            (Database::open(&path, config, Arc::new(Nobody)).await.unwrap(), None)
        }
    };
    let server = server.as_ref();
    db.install(PluginSchema {
        plugin: "rooms".to_owned(),
        version: "1".to_owned(),
        migrations: vec![Migration { name: "1".to_owned(), sql: SCHEMA.to_owned() }],
        ..PluginSchema::default()
    })
    .await
    .unwrap();
    db.register_consumer("events", "sync").await.unwrap();
    let session =
        db.session(SessionGrant { plugin: "rooms".to_owned(), ..SessionGrant::default() });
    for (name, tasks, each, durability) in [
        ("commit durable, 1 at a time", 1, 500, Durability::Durable),
        ("commit durable, 32 at a time", 32, 200, Durability::Durable),
        ("commit relaxed, 1 at a time", 1, 2_000, Durability::Relaxed),
        ("commit relaxed, 32 at a time", 32, 200, Durability::Relaxed),
    ] {
        let session = session.clone();
        let relaxed = usize::from(durability == Durability::Relaxed);
        let offset = relaxed * 100_000_000 + tasks * 1_000_000;
        run(name, tasks, each, server, move |task, i| {
            let session = session.clone();
            async move {
                session.commit(event(task, offset + i, durability)).await.unwrap();
            }
        })
        .await;
    }
    let one = "SELECT event_id, room, sender, json FROM rooms_events WHERE position = $1";
    let twenty = "SELECT event_id, room, sender, json FROM rooms_events WHERE position > $1 \
                  ORDER BY position LIMIT 20";
    run("query of 1 row, 1 at a time", 1, 20_000, server, reading(session.clone(), one)).await;
    run("query of 1 row, 32 at a time", 32, 2_000, server, reading(session.clone(), one)).await;
    run("query of 20 rows, 1 at a time", 1, 5_000, server, reading(session.clone(), twenty)).await;
    run("query of 20 rows, 32 at a time", 32, 500, server, reading(session.clone(), twenty)).await;
    let snapshots = session.clone();
    run("snapshot of 6 queries, 32", 32, 500, server, move |_, i| {
        let session = snapshots.clone();
        let n = Value::Integer(i64::try_from(i).unwrap());
        async move {
            let query = Query { sql: one.to_owned(), params: vec![n] };
            session.snapshot(vec![query; 6]).await.unwrap();
        }
    })
    .await;
    println!("{:?}", db.stats());
    drop(session);
    db.close().await;
}
