//! Connections that are lost in the middle of COMMIT: the answer must be the truth.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tessera_storage::{Batch, DatabaseConfig, Postgres, PostgresConfig, SessionGrant, Value};
use tessera_test_services::{Postgres as PostgresServer, TestDatabase};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{Woken, event, query, rooms, server};

/// What happens to the next message that commits.
const PASS: u8 = 0;
const CUT_BEFORE: u8 = 1;
const CUT_AFTER: u8 = 2;
/// The server is killed, with all its processes, before it gets the message.
const KILL: u8 = 3;

/// A way to the server with faults.
#[derive(Clone)]
struct Way {
    to: String,
    fault: Arc<AtomicU8>,
    /// Whom [`KILL`] kills; it is started again at once.
    server: Option<Arc<PostgresServer>>,
}

impl Way {
    /// The address to come by, and the task that serves it.
    async fn to(
        database: &TestDatabase,
        server: Option<Arc<PostgresServer>>,
    ) -> (String, Self, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (head, name) = database.url().rsplit_once('/').unwrap();
        let (user, to) = head.rsplit_once('@').unwrap();
        let url = format!("{user}@127.0.0.1:{port}/{name}");
        let way = Self { to: to.to_owned(), fault: Arc::new(AtomicU8::new(PASS)), server };
        let clients = way.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, clients.clone()));
            }
        });
        (url, way, task)
    }
}

/// Carries bytes between one client and the server.
async fn carry(client: TcpStream, way: Way) {
    let Way { to, fault, server: process } = way;
    // It may be away.
    let Ok(server) = TcpStream::connect(to).await else { return };
    let (mut client_in, mut client_out) = client.into_split();
    let (mut server_in, mut server_out) = server.into_split();
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut cut = false;
    loop {
        tokio::select! {
            read = client_in.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                let text = String::from_utf8_lossy(&up[..n]);
                if text.contains("COMMIT") && text.contains("SET LOCAL ROLE NONE") {
                    match fault.swap(PASS, Ordering::SeqCst) {
                        CUT_BEFORE => return,
                        CUT_AFTER => cut = true,
                        KILL => {
                            let process = process.unwrap();
                            tokio::task::spawn_blocking(move || process.restart().unwrap())
                                .await
                                .unwrap();
                            return;
                        }
                        _ => {}
                    }
                }
                if server_out.write_all(&up[..n]).await.is_err() { return; }
            }
            read = server_in.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                // The server has done it; the client is not told.
                if cut { return; }
                if client_out.write_all(&down[..n]).await.is_err() { return; }
            }
        }
    }
}

#[tokio::test]
async fn a_commit_whose_connection_is_lost_is_answered_truthfully_and_done_once() {
    let (_direct, database) = server().await;
    let (url, Way { fault, .. }, proxy) = Way::to(&database, None).await;
    let config = PostgresConfig { connections: 3, ..PostgresConfig::new(url) };
    let postgres = Postgres::connect(config).await.unwrap();
    let wake = Arc::new(Woken::default());
    let db = postgres.open("t", DatabaseConfig::default(), wake.clone()).await.unwrap();
    db.install(rooms()).await.unwrap();
    let grant = SessionGrant { plugin: "rooms".into(), ..SessionGrant::default() };
    let session = db.session(grant);
    session.commit(event("$warm", "!r")).await.unwrap();
    for (n, how) in [CUT_BEFORE, CUT_AFTER, CUT_AFTER, CUT_BEFORE].into_iter().enumerate() {
        fault.store(how, Ordering::SeqCst);
        let id = format!("$e{n}");
        let batch = Batch { id: Some(id.clone()), wake: vec![id.clone()], ..event(&id, "!r") };
        let done = session.commit(batch.clone()).await.unwrap();
        assert_eq!(fault.load(Ordering::SeqCst), PASS, "the fault has happened");
        assert!(!done.duplicate);
        let at = "SELECT position FROM rooms_events WHERE event_id = $1";
        let rows = session.query(query(at, vec![Value::Text(id)])).await.unwrap();
        let position = i64::try_from(done.first_position).unwrap();
        assert_eq!(rows.rows, [[Value::Integer(position)]]);
        assert!(session.commit(batch).await.unwrap().duplicate);
    }
    let woken = || wake.committed.lock().unwrap().len();
    let until = Instant::now() + Duration::from_secs(10);
    while woken() < 4 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(woken(), 4);
    proxy.abort();
}

/// A server that has crashed gives the number of a transaction that left no trace to the next one: what became of
/// that one says nothing of the first.
#[tokio::test]
async fn a_commit_that_a_crash_undid_is_not_taken_for_another_transaction() {
    if let Err(reason) = PostgresServer::installed() {
        eprintln!("skipped: {reason}");
        return;
    }
    let process = Arc::new(PostgresServer::durable().unwrap());
    let database = Arc::new(TestDatabase::on(&process).unwrap());
    let (url, Way { fault, .. }, proxy) = Way::to(&database, Some(process)).await;
    let config = PostgresConfig { connections: 3, ..PostgresConfig::new(url) };
    let postgres = Postgres::connect(config).await.unwrap();
    let wake = Arc::new(Woken::default());
    let db = postgres.open("t", DatabaseConfig::default(), wake).await.unwrap();
    db.install(rooms()).await.unwrap();
    let grant = SessionGrant { plugin: "rooms".into(), ..SessionGrant::default() };
    let session = db.session(grant);
    session.commit(event("$warm", "!r")).await.unwrap();
    for n in 0..3 {
        fault.store(KILL, Ordering::SeqCst);
        let id = format!("$e{n}");
        let work = tokio::spawn({
            let (session, batch) = (session.clone(), event(&id, "!r"));
            async move { session.commit(batch).await }
        });
        // Others take the numbers of transactions meanwhile.
        while !work.is_finished() {
            let database = Arc::clone(&database);
            let other = move || database.sql("SELECT pg_current_xact_id()");
            let _ = tokio::task::spawn_blocking(other).await.unwrap();
        }
        assert_eq!(fault.load(Ordering::SeqCst), PASS, "the server was killed");
        let done = work.await.unwrap();
        let at = "SELECT position FROM rooms_events WHERE event_id = $1";
        let rows = session.query(query(at, vec![Value::Text(id)])).await.unwrap().rows;
        match done {
            Ok(done) => {
                let position = i64::try_from(done.first_position).unwrap();
                assert_eq!(rows, [[Value::Integer(position)]], "answered, so it is there");
            }
            Err(error) => assert!(rows.is_empty(), "{error}, and yet it is there"),
        }
    }
    proxy.abort();
}
