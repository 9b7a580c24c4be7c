use tessera_storage::{
    Batch, Database, DatabaseConfig, Error, Message, OutboxQuery, SessionGrant, Value,
};

use crate::support::{event, statement, text};

use super::Fixture;

fn emit(messages: &[(&str, &str)]) -> Batch {
    let messages = messages
        .iter()
        .map(|(key, payload)| Message {
            topic: "events".into(),
            key: (*key).into(),
            payload: (*payload).into(),
        })
        .collect();
    Batch { messages, ..Batch::default() }
}

fn at(consumer: &str, now_ms: u64) -> OutboxQuery {
    OutboxQuery {
        topic: "events".into(),
        consumer: consumer.into(),
        now_ms,
        limit: 100,
        ..OutboxQuery::default()
    }
}

async fn payloads(db: &Database, query: OutboxQuery) -> Vec<String> {
    db.outbox(query).await.unwrap().into_iter().map(|d| d.payload).collect()
}

#[tokio::test]
async fn messages_of_a_key_come_in_order_and_not_beside_one_in_flight() {
    let f = Fixture::new().await;
    f.db.register_consumer("events", "sync").await.unwrap();
    f.rooms().commit(emit(&[("a", "a1"), ("a", "a2"), ("b", "b1")])).await.unwrap();
    f.rooms().commit(emit(&[("b", "b2"), ("a", "a3")])).await.unwrap();
    assert_eq!(*f.wake.emitted.lock().unwrap(), ["events", "events"]);
    let first = f.db.outbox(at("sync", 0)).await.unwrap();
    let all: Vec<_> = first.iter().map(|d| d.payload.as_str()).collect();
    assert_eq!(all, ["a1", "a2", "b1", "b2", "a3"]);
    let in_flight = OutboxQuery { in_flight: vec![first[0].id], ..at("sync", 0) };
    assert_eq!(payloads(&f.db, in_flight).await, ["b1", "b2"], "key a is being delivered");
    // Out of order over keys, in order within one.
    assert!(f.db.ack("sync", first[2].id).await.unwrap());
    assert_eq!(payloads(&f.db, at("sync", 0)).await, ["a1", "a2", "b2", "a3"]);
    assert!(f.db.ack("sync", first[0].id).await.unwrap());
    assert_eq!(payloads(&f.db, at("sync", 0)).await, ["a2", "b2", "a3"]);
    assert!(!f.db.ack("sync", first[0].id).await.unwrap(), "settled before");
}

#[tokio::test]
async fn consumed_messages_are_removed_when_all_have_them() {
    let f = Fixture::new().await;
    f.db.register_consumer("events", "sync").await.unwrap();
    f.db.register_consumer("events", "push").await.unwrap();
    f.rooms().commit(emit(&[("a", "1"), ("b", "2")])).await.unwrap();
    let ids: Vec<_> = f.db.outbox(at("sync", 0)).await.unwrap().iter().map(|d| d.id).collect();
    f.db.ack("sync", ids[0]).await.unwrap();
    f.db.ack("sync", ids[1]).await.unwrap();
    let pending = |db: Database| async move {
        let all = db.consumers().await.unwrap();
        all.into_iter().map(|c| (c.consumer, c.pending)).collect::<Vec<_>>()
    };
    assert_eq!(pending(f.db.clone()).await, [("push".to_owned(), 2), ("sync".to_owned(), 0)]);
    f.db.ack("push", ids[0]).await.unwrap();
    f.db.unregister_consumer("events", "push").await.unwrap();
    assert_eq!(pending(f.db.clone()).await, [("sync".to_owned(), 0)]);
    // A late comer starts now.
    f.db.register_consumer("events", "late").await.unwrap();
    assert_eq!(payloads(&f.db, at("late", 0)).await, Vec::<String>::new());
    f.rooms().commit(emit(&[("a", "3")])).await.unwrap();
    assert_eq!(payloads(&f.db, at("late", 0)).await, ["3"]);
}

#[tokio::test]
async fn done_takes_effect_once() {
    let f = Fixture::new().await;
    f.db.register_consumer("events", "rooms").await.unwrap();
    f.rooms().commit(emit(&[("a", "1")])).await.unwrap();
    let id = f.db.outbox(at("rooms", 0)).await.unwrap()[0].id;
    let consume = |event_id: &str| Batch { done: Some(id), ..event(event_id, "!r") };
    let failing = Batch { done: Some(id + 1), ..event("$x", "!r") };
    assert!(matches!(f.rooms().commit(failing).await, Err(Error::Invalid(_))));
    let first = f.rooms().commit(consume("$a")).await.unwrap();
    assert!(!first.duplicate);
    let again = f.rooms().commit(consume("$b")).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(f.db.horizon(), first.first_position, "the second had no effect");
    assert_eq!(payloads(&f.db, at("rooms", 0)).await, Vec::<String>::new());
}

#[tokio::test]
async fn done_is_undone_with_its_commit() {
    let f = Fixture::new().await;
    f.db.register_consumer("events", "rooms").await.unwrap();
    f.rooms().commit(emit(&[("a", "1")])).await.unwrap();
    f.rooms().commit(event("$a", "!r")).await.unwrap();
    let id = f.db.outbox(at("rooms", 0)).await.unwrap()[0].id;
    let conflicting = Batch { done: Some(id), ..event("$a", "!r") };
    assert!(matches!(f.rooms().commit(conflicting).await, Err(Error::Conflict { .. })));
    assert_eq!(payloads(&f.db, at("rooms", 0)).await, ["1"]);
    let emitting = Batch { messages: emit(&[("a", "2")]).messages, ..event("$a", "!r") };
    f.rooms().commit(emitting).await.unwrap_err();
    assert_eq!(f.db.consumers().await.unwrap()[0].pending, 1);
}

#[tokio::test]
async fn failures_back_off_and_hold_their_key_only() {
    let f = Fixture::new().await;
    f.db.register_consumer("events", "sync").await.unwrap();
    f.rooms().commit(emit(&[("a", "a1"), ("a", "a2"), ("b", "b1")])).await.unwrap();
    let id = f.db.outbox(at("sync", 0)).await.unwrap()[0].id;
    assert_eq!(f.db.fail("sync", id, "boom", Some(500)).await.unwrap(), 1);
    assert_eq!(payloads(&f.db, at("sync", 499)).await, ["b1"]);
    assert_eq!(f.db.next_try("events", "sync").await.unwrap(), Some(500));
    let due = f.db.outbox(at("sync", 500)).await.unwrap();
    assert_eq!((due[0].payload.as_str(), due[0].attempts), ("a1", 1));
    assert_eq!(f.db.fail("sync", id, "boom", Some(900)).await.unwrap(), 2);
    f.db.ack("sync", id).await.unwrap();
    assert_eq!(payloads(&f.db, at("sync", 0)).await, ["a2", "b1"]);
    assert_eq!(f.db.next_try("events", "sync").await.unwrap(), None);
}

#[tokio::test]
async fn dead_letters_free_their_key_and_can_be_retried_or_dropped() {
    let f = Fixture::new().await;
    f.db.register_consumer("events", "sync").await.unwrap();
    f.rooms().commit(emit(&[("a", "a1"), ("a", "a2"), ("b", "b1")])).await.unwrap();
    let ids: Vec<_> = f.db.outbox(at("sync", 0)).await.unwrap().iter().map(|d| d.id).collect();
    f.db.fail("sync", ids[0], "first", Some(1)).await.unwrap();
    assert_eq!(f.db.fail("sync", ids[0], "last", None).await.unwrap(), 2);
    f.db.fail("sync", ids[2], "bad", None).await.unwrap();
    assert_eq!(payloads(&f.db, at("sync", 0)).await, ["a2"]);
    let dead = f.db.dead_letters(Some("sync"), 0, 10).await.unwrap();
    let told: Vec<_> = dead.iter().map(|d| (d.payload.as_str(), d.error.as_str())).collect();
    assert_eq!(told, [("a1", "last"), ("b1", "bad")]);
    assert_eq!(dead[0].attempts, 2);
    assert!(f.db.dead_retry("sync", ids[0]).await.unwrap());
    assert!(f.db.dead_drop("sync", ids[2]).await.unwrap());
    assert!(!f.db.dead_drop("sync", ids[2]).await.unwrap());
    // It is a message again, and nothing that `drop` could take.
    assert_eq!(f.db.dead_letters(Some("sync"), 0, 10).await.unwrap(), []);
    let consumer = f.db.consumers().await.unwrap().remove(0);
    assert_eq!((consumer.pending, consumer.dead), (2, 0));
    assert!(!f.db.dead_retry("sync", ids[0]).await.unwrap());
    assert!(!f.db.dead_drop("sync", ids[0]).await.unwrap());
    // The retried one is ahead of newer ones of its key.
    assert_eq!(payloads(&f.db, at("sync", 0)).await, ["a1"]);
    f.db.fail("sync", ids[0], "again", Some(700)).await.unwrap();
    assert_eq!(f.db.next_try("events", "sync").await.unwrap(), Some(700));
    assert_eq!(payloads(&f.db, at("sync", 0)).await, Vec::<String>::new());
    assert!(f.db.ack("sync", ids[0]).await.unwrap());
    assert_eq!(payloads(&f.db, at("sync", 0)).await, ["a2"]);
    assert_eq!(f.db.dead_letters(None, 0, 10).await.unwrap(), []);
}

#[tokio::test]
async fn progress_outlives_a_restart() {
    let f = Fixture::new().await;
    f.db.register_consumer("events", "sync").await.unwrap();
    f.rooms().commit(emit(&[("a", "1"), ("a", "2")])).await.unwrap();
    let id = f.db.outbox(at("sync", 0)).await.unwrap()[0].id;
    f.db.ack("sync", id).await.unwrap();
    let db = f.reopen(DatabaseConfig::default()).await;
    db.register_consumer("events", "sync").await.unwrap();
    assert_eq!(payloads(&db, at("sync", 0)).await, ["2"]);
}

#[tokio::test]
async fn a_full_outbox_takes_no_more() {
    let f = Fixture::with(DatabaseConfig { outbox: 2, ..DatabaseConfig::default() }).await;
    f.rooms().commit(emit(&[("a", "to nobody"); 5])).await.unwrap();
    f.db.register_consumer("events", "sync").await.unwrap();
    f.rooms().commit(emit(&[("a", "1"), ("a", "2")])).await.unwrap();
    let third = f.rooms().commit(emit(&[("a", "3")])).await;
    assert!(matches!(third, Err(Error::Unavailable(_))), "{third:?}");
    let id = f.db.outbox(at("sync", 0)).await.unwrap()[0].id;
    f.db.ack("sync", id).await.unwrap();
    f.rooms().commit(emit(&[("a", "3")])).await.unwrap();
}

#[tokio::test]
async fn an_outbox_that_was_found_full_takes_none_until_there_is_room() {
    let f = Fixture::with(DatabaseConfig { outbox: 1_001, ..DatabaseConfig::default() }).await;
    f.db.register_consumer("events", "sync").await.unwrap();
    f.rooms().commit(emit(&[("a", "x"); 500])).await.unwrap();
    f.rooms().commit(emit(&[("a", "x"); 500])).await.unwrap();
    // It need not be counted each time.
    let mut more = 0;
    while f.rooms().commit(emit(&[("a", "more")])).await.is_ok() {
        more += 1;
        assert!(more < 200, "it takes more and more");
    }
    for _ in 0..3 {
        let again = f.rooms().commit(emit(&[("a", "again")])).await;
        assert!(matches!(again, Err(Error::Unavailable(_))), "{again:?}");
    }
    let query = OutboxQuery { limit: 120, ..at("sync", 0) };
    for delivery in f.db.outbox(query).await.unwrap() {
        f.db.ack("sync", delivery.id).await.unwrap();
    }
    f.rooms().commit(emit(&[("a", "anew")])).await.unwrap();
}

#[tokio::test]
async fn strangers_and_unknown_messages_are_refused() {
    let f = Fixture::new().await;
    f.db.register_consumer("events", "sync").await.unwrap();
    f.rooms().commit(emit(&[("a", "1")])).await.unwrap();
    let id = f.db.outbox(at("sync", 0)).await.unwrap()[0].id;
    assert!(matches!(f.db.ack("push", id).await, Err(Error::Invalid(_))));
    assert!(matches!(f.db.ack("sync", id + 7).await, Err(Error::Invalid(_))));
    assert!(matches!(f.db.ack("sync", 0).await, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn a_plugin_with_a_dash_has_its_tables_and_consumes_under_its_name() {
    let f = Fixture::new().await;
    let migration = tessera_storage::Migration {
        name: "1".into(),
        sql: "CREATE TABLE keywordpolicy_seen (name text PRIMARY KEY)".into(),
    };
    let schema = tessera_storage::PluginSchema {
        plugin: "keywordpolicy".into(),
        migrations: vec![migration],
        ..Default::default()
    };
    f.db.install(schema).await.unwrap();
    f.db.register_consumer("events", "keyword-policy").await.unwrap();
    f.rooms().commit(emit(&[("a", "1")])).await.unwrap();
    let id = f.db.outbox(at("keyword-policy", 0)).await.unwrap()[0].id;
    let session =
        f.db.session(SessionGrant { plugin: "keyword-policy".into(), ..SessionGrant::default() });
    let insert: &str = "INSERT INTO keywordpolicy_seen (name) VALUES ($1)";
    let batch = Batch {
        statements: vec![statement(insert, vec![text("x")])],
        done: Some(id),
        ..Batch::default()
    };
    assert!(!session.commit(batch).await.unwrap().duplicate);
    let rows = session.query(crate::support::query("SELECT name FROM keywordpolicy_seen", vec![]));
    assert_eq!(rows.await.unwrap().rows, [[Value::Text("x".into())]]);
    assert_eq!(payloads(&f.db, at("keyword-policy", 0)).await, Vec::<String>::new());
}
