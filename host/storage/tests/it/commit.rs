use std::time::{Duration, Instant};

use tessera_storage::{Batch, DatabaseConfig, Durability, Error, Statement, Value};

use crate::support::{count, event, query, statement, text};

use super::Fixture;

#[tokio::test]
async fn an_expectation_not_met_undoes_all_and_names_the_statement() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    let insert = statement(
        "INSERT INTO rooms_versions (room, version) VALUES ($1, $2)",
        vec![text("!r"), Value::Integer(1)],
    );
    rooms.commit(Batch { statements: vec![insert], ..Batch::default() }).await.unwrap();
    let guard = |from: i64| Statement {
        sql: "UPDATE rooms_versions SET version = version + 1 WHERE room = $1 AND version = $2"
            .into(),
        rows: vec![vec![text("!r"), Value::Integer(from)]],
        expect: Some(1),
    };
    let batch = |from| {
        let mut batch = event(&format!("$from{from}"), "!r");
        batch.statements.push(guard(from));
        batch
    };
    rooms.commit(batch(1)).await.unwrap();
    assert_eq!(rooms.commit(batch(1)).await, Err(Error::Conflict { statement: 0 }));
    assert_eq!(rooms.commit(batch(9)).await, Err(Error::Conflict { statement: 1 }));
    assert_eq!(count(&rooms, "rooms_events").await, 1);
    rooms.commit(batch(2)).await.unwrap();
    assert_eq!(f.db.stats().conflicts, 2);
}

#[tokio::test]
async fn one_statement_runs_for_many_rows_and_returns_them() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    let rows = (0..50).map(|i| vec![text(&format!("!{i}")), Value::Integer(i)]).collect();
    let committed = rooms
        .commit(Batch {
            statements: vec![Statement {
                sql: "INSERT INTO rooms_versions (room, version) VALUES ($1, $2) \
                      RETURNING room, version > 10"
                    .into(),
                rows,
                expect: Some(50),
            }],
            ..Batch::default()
        })
        .await
        .unwrap();
    assert_eq!(committed.affected, [50]);
    assert_eq!(committed.returned[0].rows.len(), 50);
    assert_eq!(committed.returned[0].rows[11], [text("!11"), Value::Boolean(true)]);
    assert_eq!(committed.first_position, 0);
}

#[tokio::test]
async fn an_upsert_counts_and_do_nothing_does_not() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    let run = |sql: &str| {
        let batch = Batch {
            statements: vec![statement(sql, vec![text("!r"), Value::Integer(7)])],
            ..Batch::default()
        };
        let rooms = rooms.clone();
        async move { rooms.commit(batch).await.unwrap().affected }
    };
    let nothing = "INSERT INTO rooms_versions (room, version) VALUES ($1, $2) \
                   ON CONFLICT (room) DO NOTHING";
    let update = "INSERT INTO rooms_versions (room, version) VALUES ($1, $2) \
                  ON CONFLICT (room) DO UPDATE SET version = excluded.version + \
                  rooms_versions.version";
    let select = "INSERT INTO rooms_versions (room, version) SELECT room, $2 FROM rooms_versions \
                  WHERE room = $1 ON CONFLICT (room) DO UPDATE SET version = excluded.version";
    assert_eq!(run(nothing).await, [1]);
    assert_eq!(run(nothing).await, [0]);
    assert_eq!(run(update).await, [1]);
    assert_eq!(run(select).await, [1]);
    let rows = rooms.query(query("SELECT version FROM rooms_versions", vec![])).await.unwrap();
    assert_eq!(rows.rows, [[Value::Integer(7)]]);
}

#[tokio::test]
async fn a_commit_id_makes_a_commit_repeatable() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    let batch = || Batch { id: Some("txn1".into()), ..event("$a", "!r") };
    let first = rooms.commit(batch()).await.unwrap();
    let second = rooms.commit(batch()).await.unwrap();
    assert!(!first.duplicate && second.duplicate);
    assert_eq!(second.first_position, first.first_position);
    assert_eq!(second.affected, first.affected);
    assert_eq!(count(&rooms, "rooms_events").await, 1);
    assert_eq!(f.db.horizon(), 1);
    // Ids are the plug-in's own.
    let other = Batch { id: Some("txn1".into()), ..Batch::default() };
    assert!(!f.sync().commit(other).await.unwrap().duplicate);
}

#[tokio::test]
async fn commits_in_one_group_stand_and_fall_alone() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    let tasks: Vec<_> = (0..200)
        .map(|i| {
            let rooms = rooms.clone();
            // Every tenth repeats an id of another.
            let id = if i % 10 == 9 { 0 } else { i };
            tokio::spawn(async move { rooms.commit(event(&format!("$e{id}"), "!r")).await })
        })
        .collect();
    let (mut positions, mut conflicts) = (Vec::new(), 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(committed) => positions.push(committed.first_position),
            Err(Error::Conflict { statement: 0 }) => conflicts += 1,
            Err(other) => panic!("{other}"),
        }
    }
    positions.sort_unstable();
    assert_eq!(conflicts, 20);
    if Fixture::POSTGRES {
        // A commit that fails leaves a gap.
        positions.dedup();
        assert_eq!(positions.len(), 180);
    } else {
        assert_eq!(positions, (1..=180).collect::<Vec<_>>());
        let stats = f.db.stats();
        assert!(stats.groups < 180, "no two commits were grouped: {stats:?}");
    }
    assert_eq!(count(&rooms, "rooms_events").await, 180);
}

#[tokio::test]
async fn wakes_come_before_the_answer_with_a_horizon_that_covers_the_commit() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    let batch = Batch { wake: vec!["!r".into()], ..event("$a", "!r") };
    let committed = rooms.commit(batch).await.unwrap();
    let woken = f.wake.committed.lock().unwrap().clone();
    assert_eq!(woken, [(vec!["!r".to_owned()], committed.first_position)]);
    let batch = Batch { wake: vec!["!r".into()], ..event("$a", "!r") };
    rooms.commit(batch).await.unwrap_err();
    assert_eq!(f.wake.committed.lock().unwrap().len(), 1, "a failed commit wakes nobody");
}

#[tokio::test]
async fn relaxed_commits_are_visible_and_numbered_like_others() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    let relaxed = Batch { durability: Durability::Relaxed, ..event("$a", "!r") };
    assert_eq!(rooms.commit(relaxed).await.unwrap().first_position, 1);
    assert_eq!(rooms.commit(event("$b", "!r")).await.unwrap().first_position, 2);
    assert_eq!(count(&rooms, "rooms_events").await, 2);
}

#[tokio::test]
async fn a_committer_that_goes_away_does_not_disturb_the_writer() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    // A statement that was never seen is first checked, on a thread of its own.
    rooms.commit(event("$first", "!r")).await.unwrap();
    for i in 0..20 {
        let commit = rooms.commit(event(&format!("$gone{i}"), "!r"));
        // Polled once, so queued, then dropped.
        let _ = tokio::time::timeout(Duration::ZERO, commit).await;
    }
    rooms.commit(event("$last", "!r")).await.unwrap();
    // Nobody waits for them, but they are not undone.
    let until = Instant::now() + Duration::from_secs(10);
    while count(&rooms, "rooms_events").await < 22 && Instant::now() < until {
        tokio::task::yield_now().await;
    }
    assert_eq!(count(&rooms, "rooms_events").await, 22);
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    let batch = || Batch { id: Some("t".into()), ..event("$a", "!r") };
    rooms.commit(batch()).await.unwrap();
    drop(rooms);
    let db = f.reopen(DatabaseConfig::default()).await;
    assert_eq!(db.horizon(), 1);
    let grant = tessera_storage::SessionGrant { plugin: "rooms".into(), ..Default::default() };
    let rooms = db.session(grant);
    assert!(rooms.commit(batch()).await.unwrap().duplicate);
    assert_eq!(rooms.commit(event("$b", "!r")).await.unwrap().first_position, 2);
}

#[tokio::test]
async fn locks_exclude_and_are_released_on_drop() {
    let f = Fixture::new().await;
    let (one, two) = (f.rooms(), f.rooms());
    let guard = one.lock(vec!["b".into(), "a".into()], Duration::from_secs(1)).await.unwrap();
    let waited = two.lock(vec!["a".into()], Duration::from_millis(5)).await;
    assert_eq!(waited.unwrap_err(), Error::Timeout);
    let other = f.sync().lock(vec!["a".into()], Duration::from_millis(5)).await;
    other.expect("keys are the plug-in's own");
    drop(guard);
    two.lock(vec!["a".into(), "b".into()], Duration::from_secs(1)).await.unwrap();
}
