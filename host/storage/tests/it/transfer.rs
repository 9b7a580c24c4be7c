use std::sync::Arc;

use tessera_storage::{
    Batch, Database, FullTextEntry, Message, Order, OutboxQuery, Session, SessionGrant,
    TransferError, Value,
};

use crate::support::{event, query, rooms, statement, sync, text};

use super::Fixture;

/// Fills a tenant with a little of everything.
pub async fn fill(db: &Database) {
    let session = session(db);
    db.register_consumer("events", "sync").await.unwrap();
    for i in 0..700 {
        let id = format!("$e{i}");
        let batch = Batch { id: Some(id.clone()), ..event(&id, "!r") };
        session.commit(batch).await.unwrap();
    }
    let values = "UPDATE rooms_events SET redacted = $1, weight = $2, raw = $3, body = NULL \
                  WHERE event_id = '$e5'";
    let params = vec![Value::Boolean(true), Value::Double(0.1 + 0.2), Value::Blob(vec![0, 9, 255])];
    let entry = |key: &str, text: &str| FullTextEntry {
        index: "bodies".into(),
        key: key.into(),
        group: "!r".into(),
        text: Some(text.into()),
    };
    let batch = Batch {
        statements: vec![statement(values, params)],
        messages: (0..3)
            .map(|i| Message { topic: "events".into(), key: "k".into(), payload: format!("p{i}") })
            .collect(),
        full_text: vec![entry("$e1", "The quick brown Fox"), entry("$e2", "Über den Bergen")],
        ..Batch::default()
    };
    session.commit(batch).await.unwrap();
    let first = db.outbox(waiting()).await.unwrap()[0].id;
    db.ack("sync", first).await.unwrap();
    let second = db.outbox(waiting()).await.unwrap()[0].id;
    db.fail("sync", second, "boom", None).await.unwrap();
    db.timer_set("rooms", "t", 77, "payload").await.unwrap();
}

fn waiting() -> OutboxQuery {
    OutboxQuery {
        topic: "events".into(),
        consumer: "sync".into(),
        limit: 10,
        ..OutboxQuery::default()
    }
}

fn session(db: &Database) -> Session {
    db.session(SessionGrant { plugin: "rooms".into(), ..SessionGrant::default() })
}

/// Everything that was put in is there and works.
pub async fn check(db: &Database, horizon: u64) {
    db.install(rooms()).await.unwrap();
    db.install(sync()).await.unwrap();
    let session = session(db);
    let all = "SELECT count(*), count(DISTINCT position), max(position) FROM rooms_events";
    let rows = session.query(query(all, vec![])).await.unwrap();
    assert_eq!(rows.rows[0][..2], [Value::Integer(700), Value::Integer(700)]);
    let one = "SELECT redacted, weight, raw, body FROM rooms_events WHERE event_id = '$e5'";
    let rows = session.query(query(one, vec![])).await.unwrap();
    let wanted =
        [Value::Boolean(true), Value::Double(0.1 + 0.2), Value::Blob(vec![0, 9, 255]), Value::Null];
    assert_eq!(rows.rows, [wanted]);
    let secrets = session.query(query("SELECT value FROM rooms_secrets", vec![])).await.unwrap();
    assert_eq!(secrets.rows, [[text("hunter2")]], "what the migration put in is there once");
    let batch = Batch { id: Some("$e7".into()), ..event("$e7", "!r") };
    assert!(session.commit(batch).await.unwrap().duplicate, "ids of commits came along");
    let next = session.commit(event("$new", "!r")).await.unwrap().first_position;
    assert!(next > horizon, "{next} was given out before ({horizon})");
    let hits = session.search("bodies", "FOX quick", None, Order::Best, 10, 0).await.unwrap();
    assert_eq!(hits.iter().map(|h| h.key.as_str()).collect::<Vec<_>>(), ["$e1"]);
    assert_eq!(session.search("bodies", "uber", None, Order::Best, 10, 0).await.unwrap().len(), 1);
    let waiting: Vec<_> =
        db.outbox(waiting()).await.unwrap().into_iter().map(|d| d.payload).collect();
    assert_eq!(waiting, ["p2"]);
    assert_eq!(db.dead_letters(None, 0, 9).await.unwrap()[0].error, "boom");
    let timers = db.timers_due(77, 9).await.unwrap();
    assert_eq!((timers.len(), timers[0].payload.as_str()), (1, "payload"));
}

async fn exported(db: &Database) -> Vec<u8> {
    db.export(Vec::new(), |_| {}).await.unwrap().0
}

#[tokio::test]
async fn an_export_makes_the_same_tenant_elsewhere() {
    let f = Fixture::new().await;
    fill(&f.db).await;
    let told = Arc::new(std::sync::Mutex::new((0, 0)));
    let seen = told.clone();
    let (file, done) = f
        .db
        .export(Vec::new(), move |p| *seen.lock().unwrap() = (p.rows, p.total))
        .await
        .unwrap();
    assert_eq!(*told.lock().unwrap(), (done.rows, done.rows));
    let other = f.home.another().await;
    let taken = other.import(std::io::Cursor::new(file), |_| {}).await.unwrap();
    assert_eq!(taken, done);
    check(&other, f.db.horizon()).await;
    // Of the copy the same file is written again.
    let third = f.home.another().await;
    tessera_storage::copy(&f.db, &third, |_| {}).await.unwrap();
    assert_eq!(exported(&third).await, exported(&f.db).await);
}

#[tokio::test]
async fn what_is_cut_off_damaged_or_newer_leaves_nothing() {
    let f = Fixture::new().await;
    fill(&f.db).await;
    let file = exported(&f.db).await;
    let other = f.home.another().await;
    let import = |bytes: Vec<u8>| other.import(std::io::Cursor::new(bytes), |_| {});
    for cut in [0, 10, file.len() / 2, file.len() - 20] {
        let got = import(file[..cut].to_vec()).await;
        assert!(matches!(got, Err(TransferError::Format { .. })), "{cut}: {got:?}");
    }
    let whole = String::from_utf8(file.clone()).unwrap();
    let got = import(whole.replacen("$e400", "$e4oo", 1).into_bytes()).await;
    assert!(matches!(got, Err(TransferError::Differs { .. })), "{got:?}");
    let named = whole.replacen("\"full_text\":[\"bodies\"]", "\"full_text\":[\"bo;dies\"]", 1);
    let got = import(named.into_bytes()).await;
    assert!(got.as_ref().is_err_and(|e| e.to_string().contains("must match")), "{got:?}");
    let newer = whole.replacen("\"format\":1", "\"format\":2", 1);
    let got = import(newer.into_bytes()).await;
    assert!(matches!(got, Err(TransferError::Newer { found: 2, .. })), "{got:?}");
    let got = import(b"{\"x\": 1}\n".to_vec()).await;
    assert!(matches!(got, Err(TransferError::Format { line: 1, .. })), "{got:?}");
    // Nothing of all that is there: it can be taken in now.
    import(file.clone()).await.unwrap();
    check(&other, f.db.horizon()).await;
    let got = other.import(std::io::Cursor::new(file), |_| {}).await;
    assert!(matches!(got, Err(TransferError::NotEmpty)), "{got:?}");
}

#[tokio::test]
async fn an_export_is_of_one_moment_while_the_tenant_is_written() {
    let f = Fixture::new().await;
    fill(&f.db).await;
    let (db, stop) = (f.db.clone(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let stopped = stop.clone();
    let writing = tokio::spawn(async move {
        let session = session(&db);
        let mut n = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            n += 1;
            // An event and its room's version go together.
            let mut batch = event(&format!("$w{n}"), "!w");
            batch.statements.push(statement(
                "INSERT INTO rooms_versions (room, version) VALUES ($1, $2)",
                vec![text(&format!("!w{n}")), Value::Integer(n)],
            ));
            session.commit(batch).await.unwrap();
        }
    });
    let other = f.home.another().await;
    other.import(std::io::Cursor::new(exported(&f.db).await), |_| {}).await.unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writing.await.unwrap();
    let both = "SELECT (SELECT count(*) FROM rooms_events WHERE room = '!w') = \
                (SELECT count(*) FROM rooms_versions WHERE version > 0)";
    let rows = session(&other).query(query(both, vec![])).await.unwrap();
    assert_eq!(rows.rows, [[Value::Boolean(true)]]);
}
