//! Whole nodes: each with a connection to NATS, one to PostgreSQL, and a bus of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tessera_bus::{
    Attached, BoxFuture, Bus, Cluster, ClusterConfig, ConsumeError, Consumer, Deliverer,
    DeliveryConfig, TenantWake,
};
use tessera_storage::{
    Batch, Database, DatabaseConfig, Delivery, Durability, Error, Message, Migration, PluginSchema,
    Postgres, PostgresConfig, Query, Session, SessionGrant, Statement, Value,
};
use tessera_test_services::{Postgres as PostgresServer, TestDatabase};

use super::support::{Mortal, PATIENCE, bus, log, own_server, server, soon, until};

const TENANT: &str = "example.org";

/// Keys of the messages that are emitted together.
const KEYS: u32 = 12;

const SEEN: &str = "CREATE TABLE push_seen (position bigint PRIMARY KEY, name text NOT NULL, \
                    number bigint NOT NULL)";

/// One node with one tenant awake.
struct Node {
    cluster: Cluster,
    bus: Bus,
    attached: Attached,
    database: Database,
    rooms: Session,
    push: Session,
    /// The address of the stream's server, and the stream's prefix.
    stream: (String, String),
    _postgres: Postgres,
}

/// `None`, and a line that says so, where there is no PostgreSQL.
fn store() -> Option<TestDatabase> {
    if std::env::var_os("TESSERA_TEST_POSTGRES").is_none()
        && let Err(reason) = PostgresServer::installed()
    {
        eprintln!("skipped: {reason}");
        return None;
    }
    Some(TestDatabase::new().unwrap())
}

impl Node {
    async fn start(config: ClusterConfig, url: String) -> Self {
        let stream = (config.servers[0].clone(), config.prefix.clone());
        let cluster = Cluster::connect(config).await.unwrap();
        let settings = PostgresConfig { connections: 8, ..PostgresConfig::new(url) };
        let postgres = Postgres::connect(settings).await.unwrap();
        let bus = bus();
        let attached = cluster.attach(&bus, TENANT).await.unwrap();
        let wake = Arc::new(TenantWake::shared(&attached));
        let database = postgres.open(TENANT, DatabaseConfig::default(), wake).await.unwrap();
        attached.on_horizon({
            let database = database.clone();
            move |horizon| database.horizon_seen(horizon)
        });
        for (plugin, sql) in [("rooms", None), ("push", Some(SEEN))] {
            let migration = |sql: &str| Migration { name: "0001.sql".into(), sql: sql.into() };
            let schema = PluginSchema {
                plugin: plugin.into(),
                version: "0.1.0".into(),
                migrations: sql.map(migration).into_iter().collect(),
                ..PluginSchema::default()
            };
            database.install(schema).await.unwrap();
        }
        attached.relay(database.clone());
        let session = |plugin: &str| {
            database.session(SessionGrant { plugin: plugin.into(), ..SessionGrant::default() })
        };
        let (rooms, push) = (session("rooms"), session("push"));
        Self { cluster, bus, attached, database, rooms, push, stream, _postgres: postgres }
    }

    async fn consume(&self) -> (Deliverer, Arc<Seen>) {
        let seen = Arc::new(Seen { session: self.push.clone(), handed: AtomicU32::new(0) });
        let config = DeliveryConfig {
            topic: "events".into(),
            consumer: "push".into(),
            batch: 4,
            max_attempts: 30,
            retry_first: Duration::from_millis(20),
            retry_max: Duration::from_secs(1),
        };
        let (database, consumer) = (self.database.clone(), seen.clone());
        let deliverer = Deliverer::shared(&self.attached, database, config, consumer).await;
        (deliverer.unwrap(), seen)
    }

    async fn emit(&self, keys: u32, number: u32) {
        let message = |key| Message {
            topic: "events".into(),
            key: format!("key {key}"),
            payload: number.to_string(),
        };
        let batch = Batch {
            id: Some(format!("emit {number}")),
            messages: (0..keys).map(message).collect(),
            ..Batch::default()
        };
        again(|| self.rooms.commit(batch.clone())).await;
    }

    /// What had its effect, by key, in the order of the effects.
    async fn effects(&self) -> BTreeMap<String, Vec<i64>> {
        let sql = "SELECT name, number FROM push_seen ORDER BY position";
        let query = || self.push.query(Query { sql: sql.into(), params: Vec::new() });
        let rows = again(query).await;
        let mut found = BTreeMap::<_, Vec<i64>>::new();
        for row in rows.rows {
            let [Value::Text(name), Value::Integer(number)] = &row[..] else { panic!("{row:?}") };
            found.entry(name.clone()).or_default().push(*number);
        }
        found
    }

    /// What JetStream holds, and how the node stands to it.
    async fn bus_inside(&self) -> String {
        let (url, prefix) = &self.stream;
        let client = async_nats::connect(url).await.unwrap();
        let context = async_nats::jetstream::new(client);
        let stream = context.get_stream(format!("{}_TOPICS", prefix.to_ascii_uppercase())).await;
        let mut stream = match stream {
            Ok(stream) => stream,
            Err(error) => return format!("no stream: {error}"),
        };
        let mut text = format!("stream: {:?}\n", stream.info().await.map(|info| &info.state));
        let mut consumers = stream.consumers();
        while let Some(info) = consumers.next().await {
            text.push_str(&match info {
                Ok(info) => format!(
                    "{}: delivered {:?}, acked {:?}, unacked {}, pending {}, redelivered {}, waiting {}\n",
                    info.name,
                    info.delivered,
                    info.ack_floor,
                    info.num_ack_pending,
                    info.num_pending,
                    info.num_redelivered,
                    info.num_waiting
                ),
                Err(error) => format!("{error}\n"),
            });
        }
        let (stats, connection) = (self.cluster.stats(), *self.cluster.connection().borrow());
        format!("{text}{stats:?}\n{connection:?}\n")
    }

    async fn until_all(&self, store: &TestDatabase, keys: u32, each: u32) {
        let wanted: Vec<i64> = (0..i64::from(each)).collect();
        let end = soon() + PATIENCE;
        loop {
            let effects = self.effects().await;
            let count: usize = effects.values().map(Vec::len).sum();
            if count >= (keys * each) as usize {
                for (key, order) in effects {
                    assert_eq!(order, wanted, "{key}");
                }
                return;
            }
            if tokio::time::Instant::now() >= end {
                for (key, order) in &effects {
                    let missing: Vec<_> = wanted.iter().filter(|n| !order.contains(n)).collect();
                    eprintln!("{key}: {missing:?} had no effect");
                }
                let bus = self.bus_inside().await;
                panic!("{count} of {}; the database has:\n{}{bus}", keys * each, inside(store));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// What the database holds of messages that are under way, to be read by whoever looks for one that is lost.
fn inside(store: &TestDatabase) -> String {
    let ask = |sql: &str| store.sql(sql).unwrap_or_else(|error| error);
    let schema = ask("SELECT schema FROM tessera.tenants");
    let schema = schema.trim();
    let tables = [
        ("position", "last_value", ""),
        ("consumers", "topic, consumer, after", ""),
        ("outbox", "id, key, payload, emitted_ms", "ORDER BY id LIMIT 50"),
        ("deliveries", "id, settled, attempts, next_ms, error", "ORDER BY id LIMIT 50"),
        ("dead", "id, retry, attempts, error", "ORDER BY id LIMIT 50"),
        ("leases", "name, holder, until, clock_timestamp()", ""),
        ("commits", "plugin, id, first_position", "ORDER BY seq DESC LIMIT 70"),
    ];
    let table = |(table, columns, order): &(&str, &str, &str)| {
        let rows = ask(&format!("SELECT {columns} FROM {schema}.tessera_{table} {order}"));
        format!("{table} ({columns}):\n{rows}")
    };
    let locks = ask("SELECT classid, objid, mode, granted, pid FROM pg_locks \
                     WHERE locktype = 'advisory'");
    let seen = ask(&format!("SELECT * FROM {schema}.push_seen ORDER BY position DESC LIMIT 500"));
    let tables: Vec<_> = tables.iter().map(table).collect();
    format!("{}advisory locks:\n{locks}seen:\n{seen}", tables.concat())
}

/// How many messages may wait while more are emitted.
const BEHIND: usize = 10 * KEYS as usize;

/// Emits from these nodes in turns, at least so many messages to each of [`KEYS`] keys and on until something holds: who
/// joins may find that others have done it all. Gives the next message's number.
async fn emit_until(
    nodes: &[&Node],
    first: u32,
    least: u32,
    what: &str,
    holds: impl Fn() -> bool,
) -> u32 {
    let end = soon();
    let mut number = first;
    for node in nodes.iter().cycle() {
        if number >= first + least && holds() {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "{what}: not within {PATIENCE:?}");
        node.emit(KEYS, number).await;
        number += 1;
        // No faster than they are handled: behind a long queue one node stays with what it began.
        while node.effects().await.values().map(Vec::len).sum::<usize>() + BEHIND
            < (number * KEYS) as usize
        {
            assert!(tokio::time::Instant::now() < end, "{what}: not within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    number
}

/// What is tried while a server is away is tried again.
async fn again<T, F: Future<Output = Result<T, Error>>>(work: impl Fn() -> F) -> T {
    let end = soon();
    loop {
        match work().await {
            Ok(value) => return value,
            Err(error) => {
                assert!(tokio::time::Instant::now() < end, "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Writes down each message, in the commit that settles it.
struct Seen {
    session: Session,
    handed: AtomicU32,
}

impl Consumer for Seen {
    fn consume(&self, batch: Vec<Delivery>) -> BoxFuture<'_, Result<u32, ConsumeError>> {
        Box::pin(async move {
            for (done, message) in (0_u32..).zip(batch) {
                self.handed.fetch_add(1, Ordering::SeqCst);
                let number: i64 = message.payload.parse().unwrap();
                let row = vec![
                    Value::Position(0),
                    Value::Text(message.key.clone()),
                    Value::Integer(number),
                ];
                let insert = Statement {
                    sql: "INSERT INTO push_seen (position, name, number) VALUES ($1, $2, $3)"
                        .into(),
                    rows: vec![row],
                    expect: Some(1),
                };
                let commit = Batch {
                    done: Some(message.id),
                    positions: 1,
                    statements: vec![insert],
                    ..Batch::default()
                };
                if let Err(error) = self.session.commit(commit).await {
                    if matches!(error, Error::Invalid(_) | Error::Refused(_)) {
                        eprintln!("not consumed: {error}");
                    }
                    let error = ConsumeError::Unavailable(error.to_string());
                    return if done == 0 { Err(error) } else { Ok(done) };
                }
            }
            Ok(u32::MAX)
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_who_is_woken_by_another_node_sees_what_it_was_woken_for() {
    let (Some(server), Some(store)) = (server(), store()) else { return };
    let url = store.url().to_owned();
    let one = Node::start(server.config("one"), url.clone()).await;
    let two = Node::start(server.config("two"), url).await;
    // Both write all the time, so that positions overlap.
    let noise = async {
        for number in 0..300 {
            let batch = Batch {
                positions: 3,
                wake: vec![format!("noise:{number}")],
                durability: Durability::Relaxed,
                ..Batch::default()
            };
            two.rooms.commit(batch).await.unwrap();
        }
    };
    let watched = async {
        for number in 0..100_u32 {
            let topic = format!("room:{number}");
            let watch = two.bus.watch(TENANT, &[topic.as_str()]).unwrap();
            let batch = Batch { positions: 1, wake: vec![topic], ..Batch::default() };
            let committed = one.rooms.commit(batch).await.unwrap();
            tokio::time::timeout(PATIENCE, watch.fired()).await.expect("the wake-up is lost");
            let snapshot = two.rooms.snapshot(Vec::new()).await.unwrap();
            assert!(
                snapshot.horizon >= committed.first_position,
                "woken for {}, sees {}",
                committed.first_position,
                snapshot.horizon
            );
        }
    };
    tokio::join!(noise, watched);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_two_nodes_emit_and_consume_each_message_once_in_order() {
    let (Some(server), Some(store)) = (server(), store()) else { return };
    let url = store.url().to_owned();
    let one = Node::start(server.config("one"), url.clone()).await;
    let two = Node::start(server.config("two"), url).await;
    let (first, seen_first) = one.consume().await;
    let (second, seen_second) = two.consume().await;
    // In turns: each key's messages come from both nodes.
    let seen = [seen_first, seen_second];
    let both = || seen.iter().all(|seen| seen.handed.load(Ordering::SeqCst) > 0);
    let emitted = emit_until(&[&one, &two], 0, 40, "both nodes take part", both).await;
    one.until_all(&store, KEYS, emitted).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_a_node_killed_under_load_loses_and_doubles_nothing() {
    let (Some(server), Some(store)) = (server(), store()) else { return };
    let url = store.url().to_owned();
    let one = Node::start(server.config("one"), url.clone()).await;
    let (_deliverer, _) = one.consume().await;
    let mut emitted = 0;
    for _ in 0..3 {
        let mortal = Mortal::new();
        let (config, url) = (server.config("two"), url.clone());
        let (two, seen) = mortal
            .run(async move {
                let node = Node::start(config, url).await;
                let (deliverer, seen) = node.consume().await;
                ((node, deliverer), seen)
            })
            .await;
        let part = || seen.handed.load(Ordering::SeqCst) > 5;
        emitted = emit_until(&[&one], emitted, 15, "the other node takes part", part).await;
        mortal.kill();
        // Its destructors belong to a runtime that is gone.
        std::mem::forget(two);
    }
    one.until_all(&store, KEYS, emitted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_and_nats_restarted_under_load_lose_and_double_nothing() {
    if let Err(reason) = PostgresServer::installed() {
        eprintln!("skipped: {reason}");
        return;
    }
    log();
    let Some(mut server) = own_server() else { return };
    let postgres = Arc::new(PostgresServer::durable().unwrap());
    let store = TestDatabase::on(&postgres).unwrap();
    let url = store.url().to_owned();
    let one = Arc::new(Node::start(server.config("one"), url.clone()).await);
    let two = Node::start(server.config("two"), url).await;
    let consuming = [one.consume().await, two.consume().await];
    let emitting = tokio::spawn({
        let one = Arc::clone(&one);
        async move {
            for number in 0..60 {
                one.emit(8, number).await;
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
    });
    let handed = || consuming.iter().map(|(_, seen)| seen.handed.load(Ordering::SeqCst)).sum();
    for round in 0..2 {
        let before: u32 = handed();
        until("messages are consumed", || handed() > before).await;
        postgres.kill();
        postgres.restart().unwrap();
        let before: u32 = handed();
        until("messages are consumed again", || handed() > before).await;
        if round == 0 {
            server.nats().kill();
        } else {
            server.nats().wipe().unwrap();
        }
        server.nats().restart().unwrap();
    }
    emitting.await.unwrap();
    one.until_all(&store, 8, 60).await;
    drop(two.cluster);
}
