use std::time::Duration;

use tessera_storage::{Batch, DatabaseConfig, Error, Head, Message, OutboxQuery};

use crate::support::{event, statement, text};

use super::Fixture;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(1);

#[tokio::test]
async fn a_lease_is_one_holders_until_it_ends_or_is_given_back() {
    let f = Fixture::new().await;
    assert!(f.db.lease("relay", "a", LONG).await.unwrap());
    assert!(!f.db.lease("relay", "b", LONG).await.unwrap());
    assert!(f.db.lease("relay", "a", LONG).await.unwrap(), "renewed");
    assert!(f.db.lease("other", "b", LONG).await.unwrap());
    f.db.release_lease("relay", "b").await.unwrap();
    assert!(!f.db.lease("relay", "b", LONG).await.unwrap(), "not b's to give back");
    f.db.release_lease("relay", "a").await.unwrap();
    assert!(f.db.lease("relay", "b", SHORT).await.unwrap());
    while !f.db.lease("relay", "a", LONG).await.unwrap() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_claimed_timer_is_nobody_elses() {
    let f = Fixture::new().await;
    for name in ["a", "b", "c"] {
        f.db.timer_set("rooms", name, 5, name).await.unwrap();
    }
    f.db.timer_set("rooms", "later", 50, "").await.unwrap();
    let first = f.db.timers_claim(9, 2, 2, LONG).await.unwrap();
    let names = |timers: &[tessera_storage::Timer]| {
        timers.iter().map(|timer| timer.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(names(&f.db.timers_claim(9, 9, 9, LONG).await.unwrap()), ["c"]);
    assert!(f.db.timers_claim(9, 9, 9, LONG).await.unwrap().is_empty());
    assert_eq!(f.db.timers_due(9, 9).await.unwrap().len(), 3, "claims do not hide them from all");
    f.db.timer_finish(&first[0]).await.unwrap();
    f.db.timer_postpone(&first[1], 8).await.unwrap();
    f.db.timer_set("rooms", "c", 6, "anew").await.unwrap();
    assert_eq!(names(&f.db.timers_claim(9, 9, 9, SHORT).await.unwrap()), ["c", "b"]);
    loop {
        let again = f.db.timers_claim(9, 9, 9, LONG).await.unwrap();
        if again.len() == 2 {
            break;
        }
        assert!(again.is_empty());
    }
}

#[tokio::test]
async fn two_who_claim_at_once_share() {
    let f = Fixture::new().await;
    for i in 0..40 {
        f.db.timer_set("rooms", &format!("t{i}"), 5, "").await.unwrap();
    }
    let claim = || f.db.timers_claim(9, 5, 5, LONG);
    let mut seen = std::collections::HashSet::new();
    loop {
        let (a, b, c) = tokio::join!(claim(), claim(), claim());
        let all: Vec<_> = [a, b, c].into_iter().flat_map(Result::unwrap).collect();
        if all.is_empty() {
            break;
        }
        for timer in all {
            assert!(seen.insert(timer.name), "claimed twice");
        }
    }
    assert_eq!(seen.len(), 40);
}

fn emit(key: &str, payload: &str) -> Batch {
    let message = Message { topic: "events".into(), key: key.into(), payload: payload.into() };
    Batch { messages: vec![message], ..Batch::default() }
}

#[tokio::test]
async fn heads_are_the_first_deliverable_of_each_key_and_consumer() {
    let f = Fixture::new().await;
    for consumer in ["push", "sync"] {
        f.db.register_consumer("events", consumer).await.unwrap();
    }
    for (key, payload) in [("a", "1"), ("a", "2"), ("b", "3"), ("c", "4")] {
        f.rooms().commit(emit(key, payload)).await.unwrap();
    }
    let query = OutboxQuery {
        topic: "events".into(),
        consumer: "sync".into(),
        limit: 9,
        ..OutboxQuery::default()
    };
    let ids: Vec<u64> =
        f.db.outbox(query.clone()).await.unwrap().iter().map(|delivery| delivery.id).collect();
    let only = OutboxQuery { key: Some("a".into()), ..query };
    let of_key: Vec<u64> = f.db.outbox(only).await.unwrap().iter().map(|d| d.id).collect();
    assert_eq!(of_key, ids[..2]);
    f.db.ack("sync", ids[0]).await.unwrap();
    let far = u64::try_from(i64::MAX).unwrap();
    f.db.fail("sync", ids[2], "later", Some(far)).await.unwrap();
    f.db.fail("sync", ids[3], "dead", None).await.unwrap();
    f.db.dead_retry("sync", ids[3]).await.unwrap();
    let now = far - 1;
    let mut heads = f.db.outbox_heads(Some("events"), now, 0, 100).await.unwrap();
    heads.sort_by(|a, b| (&a.consumer, &a.key).cmp(&(&b.consumer, &b.key)));
    let head = |consumer: &str, key: &str, id: u64| Head {
        topic: "events".into(),
        consumer: consumer.into(),
        key: key.into(),
        id,
    };
    let wanted = [
        head("push", "a", ids[0]),
        head("push", "b", ids[2]),
        head("push", "c", ids[3]),
        head("sync", "a", ids[1]),
        head("sync", "c", ids[3]),
    ];
    assert_eq!(heads, wanted);
    // So many of each consumer: what waits for one does not stand before the other.
    let first = f.db.outbox_heads(None, now, 0, 1).await.unwrap();
    let wanted = [head("push", "a", ids[0]), head("sync", "a", ids[1])];
    assert_eq!(first, wanted);
    assert_eq!(f.db.outbox_heads(None, now, 0, 2).await.unwrap().len(), 4);
    assert!(f.db.outbox_heads(Some("none"), now, 0, 9).await.unwrap().is_empty());
    // Young ones are in hand.
    let young = f.db.outbox_heads(None, 1_000, 500, 9).await.unwrap();
    assert!(young.iter().all(|head| head.consumer == "sync" && head.key == "c"), "{young:?}");
}

#[tokio::test]
async fn usage_grows_and_a_cap_on_rows_lets_only_deletions_through() {
    let f = Fixture::with(DatabaseConfig { max_rows: Some(20), ..DatabaseConfig::default() }).await;
    let rooms = f.rooms();
    assert!(f.db.usage().await.unwrap().bytes > 0);
    let until = std::time::Instant::now() + Duration::from_secs(60);
    let mut n = 0;
    let refused = loop {
        n += 1;
        match rooms.commit(event(&format!("$e{n}"), "!r")).await {
            Ok(_) if std::time::Instant::now() < until => {}
            other => break other,
        }
    };
    assert!(matches!(refused, Err(Error::Quota(_))), "{refused:?}");
    assert!(n > 20);
    assert!(f.db.usage().await.unwrap().rows > 20);
    let delete = statement("DELETE FROM rooms_events WHERE room = $1", vec![text("!r")]);
    rooms.commit(Batch { statements: vec![delete], ..Batch::default() }).await.unwrap();
}
