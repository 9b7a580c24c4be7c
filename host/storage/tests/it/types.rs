use tessera_storage::{Batch, Error, Statement, Value};

use crate::support::{event, query, statement, text};

use super::Fixture;

#[tokio::test]
async fn every_type_comes_back_as_it_went() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    let values = vec![
        Value::Position(0),
        text("$ü🦀"),
        text(""),
        Value::Null,
        Value::Boolean(true),
        Value::Double(2.0),
        Value::Blob(vec![0, 255, 7]),
    ];
    let insert = statement(
        "INSERT INTO rooms_events (position, event_id, room, body, redacted, weight, raw) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        values.clone(),
    );
    let batch = Batch { statements: vec![insert], positions: 1, ..Batch::default() };
    rooms.commit(batch).await.unwrap();
    let rows = rooms.query(query("SELECT * FROM rooms_events", vec![])).await.unwrap();
    assert_eq!(rows.columns, ["position", "event_id", "room", "body", "redacted", "weight", "raw"]);
    let mut expected = values;
    expected[0] = Value::Integer(1);
    assert_eq!(rows.rows, [expected]);
}

#[tokio::test]
async fn empty_results_have_columns() {
    let f = Fixture::new().await;
    let rows = f.rooms().query(query("SELECT room AS r FROM rooms_events", vec![])).await.unwrap();
    assert_eq!(rows.columns, ["r"]);
    assert!(rows.rows.is_empty());
}

#[tokio::test]
async fn truth_values_are_booleans() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    rooms.commit(event("$a", "!r")).await.unwrap();
    let sql = "SELECT redacted, position > 1, body IS NOT NULL, EXISTS (SELECT 1 FROM \
               rooms_versions), room IN ($1), NOT redacted, position, TRUE FROM rooms_events";
    let list = Value::TextList(vec!["!r".into()]);
    let rows = rooms.query(query(sql, vec![list])).await.unwrap();
    let (t, f) = (Value::Boolean(true), Value::Boolean(false));
    let expected = [f.clone(), f.clone(), t.clone(), f, t.clone(), t.clone(), Value::Integer(1), t];
    assert_eq!(rows.rows, [expected]);
}

#[tokio::test]
async fn a_column_keeps_to_its_type() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    for (column, value) in [
        ("body", Value::Blob(vec![1])),
        ("weight", text("heavy")),
        ("raw", text("text")),
        ("redacted", Value::Integer(2)),
        ("position", text("one")),
        ("room", Value::Null),
    ] {
        let batch = event("$x", "!r");
        rooms.commit(batch).await.unwrap();
        let update = Batch {
            statements: vec![statement(
                &format!("UPDATE rooms_events SET {column} = $1"),
                vec![value],
            )],
            ..Batch::default()
        };
        let got = rooms.commit(update).await;
        assert!(matches!(got, Err(Error::Invalid(_))), "{column}: {got:?}");
        let clear = statement("DELETE FROM rooms_events", vec![]);
        rooms.commit(Batch { statements: vec![clear], ..Batch::default() }).await.unwrap();
    }
}

#[tokio::test]
async fn lists_find_their_members() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    for id in ["$a", "$b", "$c\"'\\"] {
        rooms.commit(event(id, "!r")).await.unwrap();
    }
    let ids = |sql: &str, list: Value| {
        let (rooms, sql) = (rooms.clone(), sql.to_owned());
        async move { rooms.query(query(&sql, vec![list])).await.unwrap().rows.len() }
    };
    let by_id = "SELECT event_id FROM rooms_events WHERE event_id IN ($1)";
    let by_position = "SELECT event_id FROM rooms_events WHERE position NOT IN ($1)";
    assert_eq!(ids(by_id, Value::TextList(vec!["$a".into(), "$c\"'\\".into()])).await, 2);
    assert_eq!(ids(by_id, Value::TextList(vec![])).await, 0);
    assert_eq!(ids(by_position, Value::IntegerList(vec![1, 7])).await, 2);
    assert_eq!(ids(by_position, Value::IntegerList(vec![])).await, 3);
}

#[tokio::test]
async fn text_compares_bytewise_and_null_is_smallest() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    let rows = ["b", "B", "ä", "a"].iter().map(|t| vec![text(t), Value::Integer(0)]).collect();
    let insert = Statement {
        sql: "INSERT INTO rooms_versions (room, version) VALUES ($1, $2)".into(),
        rows,
        expect: Some(4),
    };
    rooms.commit(Batch { statements: vec![insert], ..Batch::default() }).await.unwrap();
    let sql = "SELECT CASE WHEN room = 'b' THEN NULL ELSE room END AS r FROM rooms_versions \
               ORDER BY r";
    let got = rooms.query(query(sql, vec![])).await.unwrap();
    assert_eq!(got.rows, [[Value::Null], [text("B")], [text("a")], [text("ä")]]);
    let got = rooms.query(query(&format!("{sql} DESC NULLS FIRST"), vec![])).await.unwrap();
    assert_eq!(got.rows[0], [Value::Null]);
    let numbers = "SELECT 7 / 2, -7 / 2, 7 % 3, nullif(1, 1), 1 + 1 = 2";
    let got = rooms.query(query(numbers, vec![])).await.unwrap();
    let expected = [3, -3, 1].map(Value::Integer);
    assert_eq!(got.rows[0][..3], expected);
    assert_eq!(got.rows[0][3..], [Value::Null, Value::Boolean(true)]);
}

#[tokio::test]
async fn row_values_page_through_an_index() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    for id in ["$a", "$b", "$c"] {
        rooms.commit(event(id, "!r")).await.unwrap();
    }
    let sql = "SELECT event_id FROM rooms_events WHERE (room, position) < ($1, $2) \
               ORDER BY room DESC, position DESC LIMIT $3";
    let params = vec![text("!r"), Value::Integer(3), Value::Integer(1)];
    assert_eq!(rooms.query(query(sql, params)).await.unwrap().rows, [[text("$b")]]);
}
