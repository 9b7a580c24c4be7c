use std::time::{Duration, Instant};

use tessera_storage::{
    Batch, DatabaseConfig, Error, Limits, Message, Session, SessionGrant, Statement, Value,
};

use crate::support::{count, event, query, statement, text};

use super::Fixture;

const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                       SELECT count(*) FROM n";

fn limited(f: &Fixture, limits: Limits) -> Session {
    f.db.session(SessionGrant { plugin: "rooms".into(), limits, ..SessionGrant::default() })
}

#[tokio::test]
async fn an_endless_query_is_stopped_and_its_reader_lives_on() {
    let f = Fixture::with(DatabaseConfig { readers: 1, ..DatabaseConfig::default() }).await;
    let time = Duration::from_millis(50);
    let rooms = limited(&f, Limits { time, ..Limits::default() });
    let start = Instant::now();
    assert_eq!(rooms.query(query(ENDLESS, vec![])).await, Err(Error::Timeout));
    let both = vec![query("SELECT 1", vec![]), query(ENDLESS, vec![])];
    assert_eq!(rooms.snapshot(both).await, Err(Error::Timeout));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(count(&rooms, "rooms_events").await, 0);
    assert_eq!(rooms.snapshot(vec![]).await.unwrap().horizon, 0);
}

/// Rows of a statement that multiply.
fn crossed(columns: &str, times: usize) -> String {
    let crossed: Vec<_> = (0..times).map(|i| format!("n AS n{i}")).collect();
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
         SELECT {columns} FROM {}",
        crossed.join(" CROSS JOIN ")
    )
}

#[tokio::test]
async fn bombs_of_time_rows_and_bytes_are_stopped() {
    let f = Fixture::new().await;
    let rooms = limited(&f, Limits { time: Duration::from_millis(100), ..Limits::default() });
    for sql in [
        crossed("count(*)", 6),
        crossed("sum(n0.i * n1.i)", 6),
        crossed("max(n0.i)", 4) + " WHERE n0.i + n1.i < n2.i - n3.i",
        crossed("count(*)", 6) + " WHERE n0.i + n1.i + n2.i < n3.i - n4.i - n5.i - 1000",
        format!("SELECT count(*) FROM ({}) AS x", crossed("DISTINCT n0.i * n1.i * n2.i AS i", 3)),
        crossed("row_number() OVER (ORDER BY n0.i * n1.i * n2.i)", 3) + " LIMIT 1",
        // The work of an ORDER BY comes before its first row.
        crossed("n0.i", 4) + " ORDER BY n0.i + n1.i + n2.i + n3.i LIMIT 1",
    ] {
        let got = rooms.query(query(&sql, vec![])).await;
        assert_eq!(got, Err(Error::Timeout), "{sql}");
    }
    // PostgreSQL computes all rows of a prepared statement before it sends the first: there, time may end it.
    let time = Duration::from_secs(1);
    let rooms = limited(&f, Limits { rows: 1_000, time, ..Limits::default() });
    let got = rooms.query(query(&crossed("n0.i", 3), vec![])).await;
    assert!(matches!(got, Err(Error::TooLarge(_) | Error::Timeout)), "{got:?}");
    // Time is not what ends these, however slow the machine.
    let time = Duration::from_secs(60);
    let rooms = limited(&f, Limits { rows: 1_000, time, ..Limits::default() });
    let sql = crossed("n0.i", 2) + " LIMIT 2000";
    let got = rooms.query(query(&sql, vec![])).await;
    assert!(matches!(got, Err(Error::TooLarge(_))), "{got:?}");
    let rooms = limited(&f, Limits { bytes: 1 << 20, time, ..Limits::default() });
    let ten = "x".repeat(1_000);
    for sql in [
        // 1,000 rows of a thousand letters each, and as much in one value.
        crossed("$1", 1),
        format!("SELECT {}", vec!["$1"; 1_000].join(" || ")),
    ] {
        let sql = sql.replace("$1", "CAST($1 AS text)");
        let got = rooms.query(query(&sql, vec![text(&ten)])).await;
        assert!(matches!(got, Err(Error::TooLarge(_) | Error::Refused(_))), "{sql}: {got:?}");
    }
    assert_eq!(count(&rooms, "rooms_events").await, 0);
}

#[tokio::test]
async fn more_parameters_than_may_be_are_refused() {
    let f = Fixture::new().await;
    let rooms = limited(&f, Limits::default());
    let many = query("SELECT $1", vec![Value::Integer(1); 1_000_000]);
    let got = rooms.query(many).await;
    assert!(matches!(got, Err(Error::Invalid(_) | Error::TooLarge(_))), "{got:?}");
    let rooms = limited(&f, Limits { bytes: 1 << 20, ..Limits::default() });
    let list = vec![Value::IntegerList(vec![1; 1_000_000])];
    let got = rooms.query(query("SELECT 1 WHERE 1 IN ($1)", list)).await;
    assert!(matches!(got, Err(Error::TooLarge(_))), "{got:?}");
    let names = (0..2_000).map(|i| format!("SELECT {i}")).collect::<Vec<_>>().join(" UNION ALL ");
    let got = rooms.query(query(&names, vec![])).await;
    assert!(matches!(got, Err(Error::Refused(_))), "{got:?}");
}

#[tokio::test]
async fn an_endless_write_is_stopped_and_others_of_its_group_stand() {
    let f = Fixture::new().await;
    let rooms = limited(&f, Limits { time: Duration::from_millis(50), ..Limits::default() });
    let endless = || Batch {
        statements: vec![statement(
            "INSERT INTO rooms_versions (room, version) SELECT 'x', i FROM (WITH RECURSIVE n(i) \
             AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS i FROM n) AS m",
            vec![],
        )],
        ..Batch::default()
    };
    let (a, b, c, d) = tokio::join!(
        rooms.commit(event("$a", "!r")),
        rooms.commit(endless()),
        rooms.commit(endless()),
        rooms.commit(event("$b", "!r"))
    );
    assert_eq!((b, c), (Err(Error::Timeout), Err(Error::Timeout)));
    let mut positions = [a.unwrap().first_position, d.unwrap().first_position];
    positions.sort_unstable();
    assert_eq!(positions, [1, 2]);
    assert_eq!(count(&rooms, "rooms_events").await, 2);
}

#[tokio::test]
async fn caps_on_rows_bytes_and_counts_hold() {
    let f = Fixture::new().await;
    let all = limited(&f, Limits::default());
    for i in 0..10 {
        all.commit(event(&format!("$e{i}"), "!r")).await.unwrap();
    }
    let select = || query("SELECT event_id, room FROM rooms_events", vec![]);
    let rows = limited(&f, Limits { rows: 9, ..Limits::default() });
    let bytes = limited(&f, Limits { bytes: 200, ..Limits::default() });
    let statements = limited(&f, Limits { statements: 2, ..Limits::default() });
    let params = limited(&f, Limits { params: 1, ..Limits::default() });
    let sql = limited(&f, Limits { sql: 20, ..Limits::default() });
    all.query(select()).await.unwrap();
    assert!(matches!(rows.query(select()).await, Err(Error::TooLarge(_))));
    assert!(matches!(bytes.query(select()).await, Err(Error::TooLarge(_))));
    let long = query("SELECT $1", vec![text(&"x".repeat(200))]);
    assert!(matches!(bytes.query(long).await, Err(Error::TooLarge(_))));
    assert!(matches!(statements.snapshot(vec![select(); 3]).await, Err(Error::TooLarge(_))));
    let batch = Batch { statements: vec![Statement::default(); 3], ..Batch::default() };
    assert!(matches!(statements.commit(batch).await, Err(Error::TooLarge(_))));
    let message = |payload: String| Message { payload, ..Message::default() };
    for batch in [
        Batch { positions: 10_001, ..Batch::default() },
        Batch { id: Some("x".repeat(256)), ..Batch::default() },
        Batch { messages: vec![message("x".repeat(300_000))], ..Batch::default() },
        Batch { wake: vec![String::new(); 1_001], ..Batch::default() },
    ] {
        let got = all.commit(batch).await;
        assert!(matches!(got, Err(Error::TooLarge(_))), "{got:?}");
    }
    let nul = Batch { messages: vec![message("\0".to_owned())], ..Batch::default() };
    assert!(matches!(all.commit(nul).await, Err(Error::Invalid(_))));
    let two = query("SELECT $1, $2", vec![Value::Null, Value::Null]);
    assert!(matches!(params.query(two).await, Err(Error::TooLarge(_))));
    assert!(matches!(sql.query(select()).await, Err(Error::TooLarge(_))));
}

#[tokio::test]
async fn many_short_statements_are_stopped_too() {
    let f = Fixture::new().await;
    let rooms = limited(&f, Limits { time: Duration::from_millis(20), ..Limits::default() });
    let delete = "DELETE FROM rooms_events WHERE position < 0".to_owned();
    let rows = vec![Vec::new(); 2_000_000];
    let batch = Batch {
        statements: vec![Statement { sql: delete, rows, expect: None }],
        ..Batch::default()
    };
    assert_eq!(rooms.commit(batch).await, Err(Error::Timeout));
}

#[tokio::test]
async fn the_oldest_commit_ids_are_forgotten() {
    let config = DatabaseConfig { commit_ids: 10, ..DatabaseConfig::default() };
    let f = Fixture::with(config).await;
    let rooms = f.rooms();
    let batch = |i: usize| Batch { id: Some(format!("t{i}")), ..Batch::default() };
    for i in 1..=256 {
        rooms.commit(batch(i)).await.unwrap();
    }
    assert!(rooms.commit(batch(256)).await.unwrap().duplicate);
    assert!(rooms.commit(batch(247)).await.unwrap().duplicate);
    assert!(!rooms.commit(batch(1)).await.unwrap().duplicate);
}

#[tokio::test]
async fn short_rows_count_with_what_they_take_in_memory() {
    let f = Fixture::new().await;
    let rooms = limited(&f, Limits { bytes: 1 << 20, ..Limits::default() });
    let numbers = |n: i64| {
        query(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT i FROM n",
            vec![Value::Integer(n)],
        )
    };
    rooms.query(numbers(10_000)).await.unwrap();
    assert!(matches!(rooms.query(numbers(20_000)).await, Err(Error::TooLarge(_))));
}

#[tokio::test]
async fn a_value_of_gigabytes_fails_and_others_go_on() {
    let f = Fixture::new().await;
    let rooms = limited(&f, Limits { time: Duration::from_secs(60), ..Limits::default() });
    let long = query("SELECT length(replace($1, 'x', $1))", vec![text(&"x".repeat(100_000))]);
    let got = rooms.query(long).await;
    assert!(matches!(got, Err(Error::TooLarge(_))), "{got:?}");
    rooms.commit(event("$a", "!r")).await.unwrap();
    assert_eq!(count(&rooms, "rooms_events").await, 1);
}
