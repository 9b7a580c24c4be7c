//! A child process is killed in the middle of commits; what it acknowledged must be there.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tessera_storage::{Database, DatabaseConfig, SessionGrant, Value};

use crate::support::{Woken, event, query, rooms};

const CHILD: &str = "TESSERA_STORAGE_CRASH_CHILD";
const ROUNDS: usize = 5;
const ACKNOWLEDGED: usize = 120;

/// Not a test by itself: the process that is killed.
#[tokio::test]
async fn child() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let wake = Arc::new(Woken::default());
    let db = Database::open(Path::new(&path), DatabaseConfig::default(), wake).await.unwrap();
    db.install(rooms()).await.unwrap();
    let session = db.session(SessionGrant { plugin: "rooms".into(), ..SessionGrant::default() });
    let start = db.horizon();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let session = session.clone();
            tokio::spawn(async move {
                for i in 0.. {
                    let id = format!("$s{start}t{task}n{i}");
                    let committed = session.commit(event(&id, "!r")).await.unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "ack {id} {}", committed.first_position).unwrap();
                    out.flush().unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn acknowledged_commits_survive_kill_nine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.sqlite");
    let mut acknowledged: HashSet<(String, i64)> = HashSet::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["sqlite::crash::child", "--exact", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines {
            let line = line.unwrap();
            // The harness may write on the same line before.
            let Some((_, ack)) = line.split_once("ack ") else { continue };
            let Some((id, position)) = ack.split_once(' ') else { continue };
            acknowledged.insert((id.to_owned(), position.parse().unwrap()));
            seen += 1;
            if seen == ACKNOWLEDGED + round * 37 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let wake = Arc::new(Woken::default());
        let db = Database::open(&path, DatabaseConfig::default(), wake).await.unwrap();
        let session =
            db.session(SessionGrant { plugin: "rooms".into(), ..SessionGrant::default() });
        let all = query("SELECT event_id, position FROM rooms_events ORDER BY position", vec![]);
        let stored: Vec<(String, i64)> = session
            .query(all)
            .await
            .unwrap()
            .rows
            .into_iter()
            .map(|row| match row.as_slice() {
                [Value::Text(id), Value::Integer(position)] => (id.clone(), *position),
                other => panic!("{other:?}"),
            })
            .collect();
        for (i, (_, position)) in stored.iter().enumerate() {
            assert_eq!(*position, i64::try_from(i).unwrap() + 1, "positions are dense");
        }
        assert_eq!(db.horizon(), stored.len() as u64);
        let stored: HashSet<_> = stored.into_iter().collect();
        assert!(acknowledged.is_subset(&stored), "{:?}", acknowledged.difference(&stored));
        drop(session);
        db.close().await;
    }
    assert!(acknowledged.len() >= ROUNDS * ACKNOWLEDGED);
}
