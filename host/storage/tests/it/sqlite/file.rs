//! What holds of SQLite's files and its one writer only.

use std::sync::Arc;
use std::time::Duration;

use tessera_storage::{
    Batch, Database, DatabaseConfig, Error, Limits, Message, OpenError, SessionGrant, Value,
};

use crate::support::{Woken, count, event, query, statement, text};

use super::Fixture;

/// An event of so many bytes.
fn large(id: &str, bytes: usize) -> Batch {
    let statement = statement(
        "INSERT INTO rooms_events (position, event_id, room, raw) VALUES ($1, $2, $3, $4)",
        vec![Value::Position(0), text(id), text("!r"), Value::Blob(vec![7; bytes])],
    );
    Batch { statements: vec![statement], positions: 1, ..Batch::default() }
}

#[tokio::test]
async fn a_full_queue_is_busy() {
    let f = Fixture::with(DatabaseConfig { write_queue: 1, ..DatabaseConfig::default() }).await;
    let rooms = f.rooms();
    let all = (0..100).map(|i| {
        let rooms = rooms.clone();
        async move { rooms.commit(event(&format!("$e{i}"), "!r")).await }
    });
    let results = futures::future::join_all(all).await;
    let stored = results.iter().filter(|r| r.is_ok()).count();
    assert!(results.iter().all(|r| matches!(r, Ok(_) | Err(Error::Busy))));
    assert!((1..100).contains(&stored));
    assert_eq!(count(&rooms, "rooms_events").await, i64::try_from(stored).unwrap());
}

#[tokio::test]
async fn a_file_over_its_quota_takes_nothing_more_but_what_the_host_needs() {
    let f =
        Fixture::with(DatabaseConfig { max_bytes: Some(512 << 10), ..DatabaseConfig::default() })
            .await;
    let rooms = f.rooms();
    rooms.commit(event("$small", "!r")).await.unwrap();
    let (a, b, c) = tokio::join!(
        rooms.commit(event("$before", "!r")),
        rooms.commit(large("$big", 1 << 20)),
        rooms.commit(event("$after", "!r"))
    );
    assert!(matches!(b, Err(Error::Quota(_))), "{b:?}");
    a.unwrap();
    c.unwrap();
    assert_eq!(count(&rooms, "rooms_events").await, 3);
    assert_eq!(f.db.horizon(), 3);
    // Full to the brim, the host still sets timers and settles, and what deletes goes through.
    let refused = loop {
        let n = count(&rooms, "rooms_events").await;
        match rooms.commit(large(&format!("$n{n}"), 9000)).await {
            Ok(_) => assert!(n < 100),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Quota(_)), "{refused:?}");
    let payload = "x".repeat(9000);
    for n in 0..20 {
        f.db.timer_set("rooms", &format!("t{n}"), 1, &payload).await.unwrap();
    }
    let delete = statement("DELETE FROM rooms_events WHERE room = $1", vec![text("!r")]);
    let told = Message { topic: "events".into(), ..Message::default() };
    let gone = Batch { statements: vec![delete], messages: vec![told], ..Batch::default() };
    rooms.commit(gone).await.unwrap();
    rooms.commit(event("$again", "!r")).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_database_lives_on() {
    let f =
        Fixture::with(DatabaseConfig { max_bytes: Some(512 << 10), ..DatabaseConfig::default() })
            .await;
    let rooms = f.rooms();
    let (a, b, c) = tokio::join!(
        rooms.commit(event("$before", "!r")),
        rooms.commit(large("$big", 6 << 20)),
        rooms.commit(event("$after", "!r"))
    );
    match b {
        Err(Error::Unavailable(why)) => assert!(why.contains("full"), "{why}"),
        other => panic!("{other:?}"),
    }
    a.unwrap();
    c.unwrap();
    assert_eq!(count(&rooms, "rooms_events").await, 2);
}

#[tokio::test]
async fn a_closed_database_is_closed_for_all_who_hold_it() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    rooms.commit(event("$0", "!r")).await.unwrap();
    let (a, ()) = tokio::join!(rooms.commit(event("$a", "!r")), f.db.clone().close());
    a.unwrap();
    assert!(matches!(rooms.commit(event("$b", "!r")).await, Err(Error::Unavailable(_))));
    assert!(matches!(rooms.snapshot(vec![]).await, Err(Error::Unavailable(_))));
    let wal = f.path().with_extension("sqlite-wal");
    assert!(!wal.exists(), "the log was taken in");
    Database::open(&f.path(), DatabaseConfig::default(), f.wake.clone()).await.unwrap();
}

#[tokio::test]
async fn positions_that_a_crash_of_the_machine_may_have_taken_are_not_given_out_again() {
    let f = Fixture::new().await;
    let path = f.path();
    let relaxed = Batch { durability: tessera_storage::Durability::Relaxed, ..event("$a", "!r") };
    f.rooms().commit(relaxed).await.unwrap();
    for (boot, least) in [(None, 2), (Some("another"), 1 << 20)] {
        f.db.clone().close().await;
        if let Some(boot) = boot {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
            let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
            let sql = "UPDATE tessera_meta SET value = ?1 WHERE key = 'boot'";
            let done = sqlx::query(sql).bind(boot).execute(&mut connection).await.unwrap();
            assert_eq!(done.rows_affected(), 1);
            sqlx::Connection::close(connection).await.unwrap();
        }
        let db = Database::open(&path, DatabaseConfig::default(), f.wake.clone()).await.unwrap();
        let grant = tessera_storage::SessionGrant { plugin: "rooms".into(), ..Default::default() };
        let id = format!("${least}");
        let committed = db.session(grant).commit(event(&id, "!r")).await.unwrap();
        assert!(committed.first_position >= least, "{committed:?}");
        assert!(committed.first_position < least + 10, "{committed:?}");
        assert!(db.horizon() >= least);
        db.close().await;
    }
}

#[tokio::test]
async fn positions_are_dense_and_rows_are_found_at_them() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    for i in 1..=5_u64 {
        let committed = rooms.commit(event(&format!("$e{i}"), "!r")).await.unwrap();
        assert_eq!(committed.first_position, i);
        assert_eq!(committed.affected, [1]);
        assert_eq!(f.db.horizon(), i);
    }
    let snapshot = rooms
        .snapshot(vec![
            query("SELECT position FROM rooms_events ORDER BY position", vec![]),
            query("SELECT event_id FROM rooms_events WHERE position = $1", vec![Value::Integer(3)]),
        ])
        .await
        .unwrap();
    assert_eq!(snapshot.horizon, 5);
    let positions: Vec<_> = snapshot.results[0].rows.iter().map(|r| r[0].clone()).collect();
    assert_eq!(positions, (1..=5).map(Value::Integer).collect::<Vec<_>>());
    assert_eq!(snapshot.results[1].rows, [[text("$e3")]]);
}

#[tokio::test]
async fn a_failed_commit_takes_no_position() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    rooms.commit(event("$a", "!r")).await.unwrap();
    assert_eq!(rooms.commit(event("$a", "!r")).await, Err(Error::Conflict { statement: 0 }));
    assert_eq!(f.db.horizon(), 1);
    assert_eq!(rooms.commit(event("$b", "!r")).await.unwrap().first_position, 2);
}

#[tokio::test]
async fn a_newer_database_and_one_in_use_are_refused() {
    let f = Fixture::new().await;
    let wake = Arc::new(Woken::default());
    let second = Database::open(&f.path(), DatabaseConfig::default(), wake.clone()).await;
    assert!(matches!(second, Err(OpenError::Locked(_))), "{second:?}");
    let path = f.path();
    f.db.close().await;
    let url = format!("sqlite://{}", path.display());
    let mut raw = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    sqlx::query("UPDATE tessera_meta SET value = '99' WHERE key = 'schema'")
        .execute(&mut raw)
        .await
        .unwrap();
    sqlx::Connection::close(raw).await.unwrap();
    match Database::open(&path, DatabaseConfig::default(), wake).await {
        Err(e @ OpenError::Newer { found: 99, .. }) => {
            assert!(e.to_string().contains("version 99"), "{e}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sqlite");
    std::fs::write(&path, "this is no database at all".repeat(100)).unwrap();
    let opened = Database::open(&path, DatabaseConfig::default(), Arc::new(Woken::default())).await;
    assert!(matches!(opened, Err(OpenError::Engine { .. })), "{opened:?}");
}

#[tokio::test]
async fn a_statement_that_gathers_gigabytes_fails_and_others_go_on() {
    let f = Fixture::new().await;
    let limits = Limits { time: Duration::from_secs(60), ..Limits::default() };
    let grant = SessionGrant { plugin: "rooms".into(), limits, ..SessionGrant::default() };
    let rooms = f.db.session(grant);
    let bomb = query(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) \
         SELECT count(*) FROM (SELECT DISTINCT ($1 || i) AS t FROM n) AS d",
        vec![text(&"x".repeat(1 << 20))],
    );
    assert!(matches!(rooms.query(bomb).await, Err(Error::Unavailable(_))));
    rooms.commit(event("$a", "!r")).await.unwrap();
    assert_eq!(count(&rooms, "rooms_events").await, 1);
}

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up() {
    let f = Fixture::new().await;
    f.db.timer_set("rooms", "t", 5, "x").await.unwrap();
    f.db.clone().close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(f.path());
    let mut old = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let back = "DROP INDEX tessera_deliveries_open; DROP TABLE tessera_leases; ALTER TABLE tessera_timers DROP COLUMN claimed_until; \
                UPDATE tessera_meta SET value = '1' WHERE key = 'schema'";
    sqlx::Executor::execute(&mut old, sqlx::raw_sql(back)).await.unwrap();
    sqlx::Connection::close(old).await.unwrap();
    let db = f.reopen(DatabaseConfig::default()).await;
    assert!(db.lease("l", "a", Duration::from_secs(9)).await.unwrap());
    assert_eq!(db.timers_claim(9, 9, 9, Duration::from_secs(9)).await.unwrap().len(), 1);
}
