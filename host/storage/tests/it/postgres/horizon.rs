//! The horizon with several writers, some of which fall over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tessera_storage::{
    Batch, Database, DatabaseConfig, Message, OutboxQuery, Postgres, PostgresConfig, Session,
    SessionGrant, Statement, Value,
};
use tessera_test_services::TestDatabase;

use crate::support::{Woken, event, query, rooms, server, statement};

struct Node {
    db: Database,
    wake: Arc<Woken>,
    _postgres: Postgres,
}

async fn node(database: &TestDatabase) -> Node {
    let config = PostgresConfig { connections: 8, ..PostgresConfig::new(database.url()) };
    let postgres = Postgres::connect(config).await.unwrap();
    let wake = Arc::new(Woken::default());
    let db = postgres.open("hs1", DatabaseConfig::default(), wake.clone()).await.unwrap();
    db.install(rooms()).await.unwrap();
    Node { db, wake, _postgres: postgres }
}

fn session(db: &Database) -> Session {
    db.session(SessionGrant { plugin: "rooms".into(), ..SessionGrant::default() })
}

/// A commit that stands still for some milliseconds between its first position and its end.
fn slow(id: &str, positions: u32, work: i64) -> Batch {
    let insert = "INSERT INTO rooms_events (position, event_id, room) VALUES ($1, $2, '!r')";
    let rows = (0..positions)
        .map(|k| vec![Value::Position(k), Value::Text(format!("{id}-{k}"))])
        .collect();
    let count = "INSERT INTO rooms_versions (room, version) SELECT $2, m.n FROM (SELECT count(*) AS n \
                 FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
                 SELECT i FROM n) AS c) AS m ON CONFLICT (room) DO UPDATE SET version = excluded.version";
    let room = Value::Text(format!("v{id}"));
    Batch {
        statements: vec![
            Statement { sql: insert.into(), rows, expect: Some(u64::from(positions)) },
            statement(count, vec![Value::Integer(work), room]),
        ],
        positions,
        wake: vec![id.to_owned()],
        messages: vec![Message { topic: "t".into(), key: id.into(), payload: id.into() }],
        ..Batch::default()
    }
}

/// Reads on from `from` to the horizon; gives what is there and the horizon.
async fn page(session: &Session, from: u64) -> (Vec<u64>, u64) {
    let sql = "SELECT position FROM rooms_events WHERE position > $1 ORDER BY position";
    let params = vec![Value::Integer(i64::try_from(from).unwrap())];
    let snapshot = session.snapshot(vec![query(sql, params)]).await.unwrap();
    let all = snapshot.results[0].rows.iter().map(|row| match row[0] {
        Value::Integer(p) => u64::try_from(p).unwrap(),
        ref other => panic!("{other:?}"),
    });
    (all.filter(|p| *p <= snapshot.horizon).collect(), snapshot.horizon)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_by_horizon_sees_every_commit_once_though_writers_are_killed() {
    let (_first, database) = server().await;
    let nodes = [node(&database).await, node(&database).await, node(&database).await];
    nodes[0].db.register_consumer("t", "c").await.unwrap();
    let mut writers = Vec::new();
    for (n, node) in nodes.iter().take(2).enumerate() {
        for task in 0..4 {
            let session = session(&node.db);
            writers.push(tokio::spawn(async move {
                let (mut committed, mut failed) = (BTreeSet::new(), Vec::new());
                for i in 0..40_u32 {
                    let positions = 1 + (i * 7 + task) % 3;
                    let work = i64::from((i * 31 + task * 17) % 5) * 4_000 + 1;
                    let id = format!("n{n}t{task}i{i}");
                    // Some are killed: they tell so, or tell that they are through.
                    match session.commit(slow(&id, positions, work)).await {
                        Ok(done) => committed
                            .extend((0..u64::from(positions)).map(|k| done.first_position + k)),
                        Err(_) => failed.push(format!("{id}-0")),
                    }
                }
                (committed, failed)
            }));
        }
    }
    let killer = async {
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                        WHERE application_name = 'tessera' AND datname = current_database() \
                        AND xact_start IS NOT NULL AND query LIKE '%tessera_begin%' LIMIT 1";
            database.sql(kill).unwrap();
        }
    };
    let reading = session(&nodes[2].db);
    let (mut seen, mut from) = (Vec::new(), 0);
    let all = async { futures::future::join_all(writers).await };
    tokio::pin!(all);
    tokio::pin!(killer);
    let mut killing = true;
    let done = loop {
        tokio::select! {
            biased;
            done = &mut all => break done,
            () = &mut killer, if killing => killing = false,
            (positions, horizon) = page(&reading, from) => {
                assert!(horizon >= from, "the horizon went back");
                seen.extend(positions);
                from = horizon;
            }
        }
    };
    let (mut committed, mut failed) = (BTreeSet::new(), Vec::new());
    for (positions, ids) in done.into_iter().map(Result::unwrap) {
        committed.extend(positions);
        failed.extend(ids);
    }
    let lost = "SELECT event_id FROM rooms_events WHERE event_id IN ($1)";
    let lost = reading.query(query(lost, vec![Value::TextList(failed)])).await.unwrap();
    assert!(lost.rows.is_empty(), "told to have failed, but there: {lost:?}");
    let last = *committed.last().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while from < last && Instant::now() < until {
        let (positions, horizon) = page(&reading, from).await;
        seen.extend(positions);
        from = horizon;
    }
    assert!(from >= last, "horizon {from}, last {last}");
    let once: BTreeSet<u64> = seen.iter().copied().collect();
    assert_eq!(once.len(), seen.len(), "seen twice");
    let all = reading.query(query("SELECT position FROM rooms_events", vec![])).await.unwrap();
    assert_eq!(once.len(), all.rows.len(), "some were stepped over");
    assert!(committed.is_subset(&once));
    assert!(committed.len() > 300, "{}", committed.len());
    // Each commit's message is there too, and each wake-up came with a horizon that covers it.
    let outbox = OutboxQuery {
        topic: "t".into(),
        consumer: "c".into(),
        limit: 10_000,
        ..OutboxQuery::default()
    };
    let messages = nodes[1].db.outbox(outbox).await.unwrap();
    let told: usize = nodes.iter().map(|n| n.wake.committed.lock().unwrap().len()).sum();
    assert_eq!(messages.len(), told);
}

/// Another process takes a position and stands still: the server ends it after two seconds.
async fn stand_still(database: &TestDatabase, schema: String) -> tokio::task::JoinHandle<()> {
    let (url, taken) = (database.url().to_owned(), tokio::sync::oneshot::channel::<()>());
    let (tell, told) = taken;
    let stopped = tokio::spawn(async move {
        let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
        let options = options.options([("idle_in_transaction_session_timeout", "2s")]);
        let mut pg = sqlx::ConnectOptions::connect(&options).await.unwrap();
        let begin = format!("BEGIN; SELECT {schema}.tessera_take(1)");
        sqlx::raw_sql(sqlx::AssertSqlSafe(begin)).execute(&mut pg).await.unwrap();
        tell.send(()).unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(pg);
    });
    told.await.unwrap();
    stopped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_closes_waits_for_wakes_that_wait_for_the_horizon() {
    let (_first, database) = server().await;
    let node = node(&database).await;
    let schema = database.sql("SELECT schema FROM tessera.tenants").unwrap();
    let stopped = stand_still(&database, schema.trim().to_owned()).await;
    let batch = Batch { wake: vec!["w".into()], ..event("$a", "!r") };
    let committed = session(&node.db).commit(batch).await.unwrap();
    node.db.clone().close().await;
    let woken = node.wake.committed.lock().unwrap().clone();
    assert!(woken.len() == 1 && woken[0].1 >= committed.first_position, "{woken:?}");
    stopped.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wakes_wait_for_the_horizon_and_a_stopped_writer_does_not_stall_it() {
    let (_first, database) = server().await;
    let node = node(&database).await;
    let session = session(&node.db);
    let schema = database.sql("SELECT schema FROM tessera.tenants").unwrap();
    let schema = schema.trim().to_owned();
    let stopped = stand_still(&database, schema).await;
    let batch = Batch { wake: vec!["w".into()], ..event("$a", "!r") };
    let committed = session.commit(batch).await.unwrap();
    assert!(node.db.horizon() < committed.first_position);
    assert!(node.wake.committed.lock().unwrap().is_empty(), "told too early");
    let until = Instant::now() + Duration::from_secs(20);
    while node.wake.committed.lock().unwrap().is_empty() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let woken = node.wake.committed.lock().unwrap().clone();
    assert_eq!(woken.len(), 1, "the stopped writer stalls it");
    assert!(woken[0].1 >= committed.first_position);
    stopped.abort();
}

#[tokio::test]
async fn a_horizon_heard_of_frees_what_waits() {
    let (_first, database) = server().await;
    let node = node(&database).await;
    node.db.horizon_seen(77);
    assert_eq!(node.db.horizon(), 77);
    node.db.horizon_seen(5);
    assert_eq!(node.db.horizon(), 77);
}
