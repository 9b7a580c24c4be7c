//! Whole nodes: each with a connection to NATS, one to PostgreSQL, and a bus of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tessera_bus::{
    Attached, BoxFuture, Bus, Cluster, ClusterConfig, ConsumeError, Consumer, Deliverer,
    DeliveryConfig, TenantWake,
};
use tessera_storage::{
    Batch, Database, DatabaseConfig, Delivery, Durability, Error, Message, Migration, PluginSchema,
    Postgres, PostgresConfig, Query, Session, SessionGrant, Statement, Value,
};
use tessera_test_services::{Postgres as PostgresServer, TestDatabase};

use super::support::{Mortal, PATIENCE, bus, own_server, server, soon, until};

const TENANT: &str = "example.org";

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
        Self { cluster, bus, attached, database, rooms, push, _postgres: postgres }
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

    async fn until_all(&self, keys: u32, each: u32) {
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
            assert!(tokio::time::Instant::now() < end, "{count} of {}", keys * each);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
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
    for number in 0..40 {
        // In turns: each key's messages come from both nodes.
        let node = if number % 2 == 0 { &one } else { &two };
        node.emit(12, number).await;
    }
    one.until_all(12, 40).await;
    for seen in [seen_first, seen_second] {
        assert!(seen.handed.load(Ordering::SeqCst) > 0, "a node had nothing to do");
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_a_node_killed_under_load_loses_and_doubles_nothing() {
    let (Some(server), Some(store)) = (server(), store()) else { return };
    let url = store.url().to_owned();
    let one = Node::start(server.config("one"), url.clone()).await;
    let (_deliverer, _) = one.consume().await;
    for round in 0..3_u32 {
        let mortal = Mortal::new();
        let (config, url) = (server.config("two"), url.clone());
        let (two, seen) = mortal
            .run(async move {
                let node = Node::start(config, url).await;
                let (deliverer, seen) = node.consume().await;
                ((node, deliverer), seen)
            })
            .await;
        for number in round * 15..(round + 1) * 15 {
            one.emit(12, number).await;
        }
        until("the other node takes part", || seen.handed.load(Ordering::SeqCst) > 5).await;
        mortal.kill();
        // Its destructors belong to a runtime that is gone.
        std::mem::forget(two);
    }
    one.until_all(12, 45).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_and_nats_restarted_under_load_lose_and_double_nothing() {
    if let Err(reason) = PostgresServer::installed() {
        eprintln!("skipped: {reason}");
        return;
    }
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
    one.until_all(8, 60).await;
    drop(two.cluster);
}
