use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tessera_bus::{
    BoxFuture, Bus, ConsumeError, Consumer, Deliverer, DeliveryConfig, DeliveryStats, TenantWake,
};
use tessera_storage::{
    Batch, Database, DatabaseConfig, Delivery, Message, PluginSchema, Session, SessionGrant,
};
use tokio::sync::{mpsc, oneshot};

type Outcome = Result<u32, ConsumeError>;
type Batches = mpsc::UnboundedReceiver<(Vec<Delivery>, oneshot::Sender<Outcome>)>;

/// Hands every batch to the test, which says what came of it.
struct Asking(mpsc::UnboundedSender<(Vec<Delivery>, oneshot::Sender<Outcome>)>);

impl Consumer for Asking {
    fn consume(&self, batch: Vec<Delivery>) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            self.0.send((batch, answer)).unwrap();
            // A test that drops the question lets the consumer hang.
            match answered.await {
                Ok(outcome) => outcome,
                Err(_) => std::future::pending().await,
            }
        })
    }
}

struct World {
    bus: Bus,
    database: Database,
    emitter: Session,
    _dir: TempDir,
}

async fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::default();
    let wake = Arc::new(TenantWake::new(bus.clone(), "example.org"));
    let path = dir.path().join("tenant.db");
    let database = Database::open(&path, DatabaseConfig::default(), wake).await.unwrap();
    let schema =
        PluginSchema { plugin: "rooms".into(), version: "0.1.0".into(), ..PluginSchema::default() };
    database.install(schema).await.unwrap();
    let emitter =
        database.session(SessionGrant { plugin: "rooms".into(), ..SessionGrant::default() });
    World { bus, database, emitter, _dir: dir }
}

impl World {
    async fn deliver(&self, max_attempts: u32) -> (Deliverer, Batches) {
        let (asking, batches) = mpsc::unbounded_channel();
        let config = DeliveryConfig {
            topic: "events".into(),
            consumer: "push".into(),
            batch: 10,
            max_attempts,
            retry_first: Duration::from_millis(5),
            retry_max: Duration::from_millis(20),
        };
        let deliverer = Deliverer::start(
            self.bus.clone(),
            "example.org",
            self.database.clone(),
            config,
            Arc::new(Asking(asking)),
        )
        .await
        .unwrap();
        (deliverer, batches)
    }

    async fn emit(&self, messages: &[(&str, &str)]) {
        let messages = messages.iter().map(|(key, payload)| Message {
            topic: "events".into(),
            key: (*key).into(),
            payload: (*payload).into(),
        });
        let batch = Batch { messages: messages.collect(), ..Batch::default() };
        self.emitter.commit(batch).await.unwrap();
    }
}

fn payloads(batch: &[Delivery]) -> Vec<&str> {
    batch.iter().map(|message| message.payload.as_str()).collect()
}

async fn until(deliverer: &Deliverer, holds: impl Fn(DeliveryStats) -> bool) {
    while !holds(deliverer.stats()) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_commit_wakes_its_consumer_and_keys_keep_their_order() {
    let world = world().await;
    let (deliverer, mut batches) = world.deliver(3).await;
    world.emit(&[("a", "a1"), ("a", "a2"), ("b", "b1")]).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let (batch, answer) = batches.recv().await.unwrap();
        seen.extend(payloads(&batch).into_iter().map(str::to_owned));
        answer.send(Ok(batch.len() as u32)).unwrap();
    }
    let of_a: Vec<_> = seen.iter().filter(|payload| payload.starts_with('a')).collect();
    assert_eq!(of_a, ["a1", "a2"]);
    until(&deliverer, |stats| stats.done == 3 && stats.lag_ms == 0).await;

    world.emit(&[("a", "a3")]).await;
    let (batch, answer) = batches.recv().await.unwrap();
    assert_eq!(payloads(&batch), ["a3"]);
    answer.send(Ok(1)).unwrap();
    deliverer.stop().await;
    assert!(batches.recv().await.is_none());
}

#[tokio::test]
async fn a_failed_message_comes_again_and_holds_back_its_key_only() {
    let world = world().await;
    let (deliverer, mut batches) = world.deliver(5).await;
    world.emit(&[("a", "a1"), ("b", "b1"), ("a", "a2")]).await;
    let mut attempts_of_a1 = Vec::new();
    let mut order = Vec::new();
    while order.len() < 3 {
        let (batch, answer) = batches.recv().await.unwrap();
        let first = &batch[0];
        if first.payload == "a1" && attempts_of_a1.len() < 2 {
            attempts_of_a1.push(first.attempts);
            answer.send(Err(ConsumeError::Failed("not now".into()))).unwrap();
        } else {
            order.push(first.payload.clone());
            answer.send(Ok(1)).unwrap();
        }
    }
    assert_eq!(attempts_of_a1, [0, 1]);
    assert_eq!(order, ["b1", "a1", "a2"]);
    until(&deliverer, |stats| (stats.done, stats.failed, stats.dead) == (3, 2, 0)).await;
}

#[tokio::test]
async fn a_message_that_never_works_becomes_a_dead_letter_and_can_be_retried() {
    let world = world().await;
    let (deliverer, mut batches) = world.deliver(3).await;
    world.emit(&[("a", "bad")]).await;
    for _ in 0..3 {
        let (_, answer) = batches.recv().await.unwrap();
        answer.send(Err(ConsumeError::Failed("broken".into()))).unwrap();
    }
    until(&deliverer, |stats| stats.dead == 1).await;
    let dead = world.database.dead_letters(Some("push"), 0, 10).await.unwrap();
    assert_eq!(
        (dead.len(), dead[0].payload.as_str(), dead[0].error.as_str()),
        (1, "bad", "broken")
    );

    world.emit(&[("a", "good")]).await;
    let (batch, answer) = batches.recv().await.unwrap();
    assert_eq!(payloads(&batch), ["good"], "the key goes on");
    answer.send(Ok(1)).unwrap();

    assert!(world.database.dead_retry("push", dead[0].id).await.unwrap());
    let (batch, answer) = batches.recv().await.unwrap();
    assert_eq!(payloads(&batch), ["bad"]);
    answer.send(Ok(1)).unwrap();
    until(&deliverer, |stats| stats.done == 2).await;
    assert!(world.database.dead_letters(Some("push"), 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_consumer_that_is_away_costs_no_attempt() {
    let world = world().await;
    let (deliverer, mut batches) = world.deliver(1).await;
    world.emit(&[("a", "1")]).await;
    for _ in 0..3 {
        let (batch, answer) = batches.recv().await.unwrap();
        assert_eq!(batch[0].attempts, 0);
        answer.send(Err(ConsumeError::Unavailable("restarting".into()))).unwrap();
    }
    let (_, answer) = batches.recv().await.unwrap();
    answer.send(Ok(1)).unwrap();
    until(&deliverer, |stats| (stats.done, stats.failed, stats.dead) == (1, 0, 0)).await;
}

#[tokio::test]
async fn a_part_of_a_batch_may_be_done() {
    let world = world().await;
    let (deliverer, mut batches) = world.deliver(5).await;
    world.emit(&[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let mut answered = 0;
    loop {
        let (batch, answer) = batches.recv().await.unwrap();
        answered += 1;
        if batch.len() == 3 {
            answer.send(Ok(2)).unwrap();
            continue;
        }
        let last = batch.last().unwrap().payload == "3";
        answer.send(Ok(batch.len() as u32)).unwrap();
        if last {
            break;
        }
    }
    until(&deliverer, |stats| stats.done == 3).await;
    assert!(answered >= 2);
    assert_eq!(deliverer.stats().failed, 0, "what was not reached has not failed");
}

#[tokio::test]
async fn what_the_consumers_own_commit_settled_is_not_delivered_again() {
    let world = world().await;
    let (deliverer, mut batches) = world.deliver(3).await;
    let schema =
        PluginSchema { plugin: "push".into(), version: "0.1.0".into(), ..PluginSchema::default() };
    world.database.install(schema).await.unwrap();
    let push =
        world.database.session(SessionGrant { plugin: "push".into(), ..SessionGrant::default() });
    world.emit(&[("a", "1")]).await;
    let (batch, answer) = batches.recv().await.unwrap();
    push.commit(Batch { done: Some(batch[0].id), ..Batch::default() }).await.unwrap();
    // It trapped after its commit: the effect has happened once and must not happen again.
    answer.send(Err(ConsumeError::Failed("trap after the commit".into()))).unwrap();
    world.emit(&[("a", "2")]).await;
    let (batch, answer) = batches.recv().await.unwrap();
    assert_eq!(payloads(&batch), ["2"]);
    answer.send(Ok(1)).unwrap();
    until(&deliverer, |stats| (stats.done, stats.failed) == (2, 0)).await;
}

#[tokio::test]
async fn what_was_in_hand_at_a_stop_is_delivered_after_the_next_start() {
    let world = world().await;
    let (first, mut batches) = world.deliver(3).await;
    world.emit(&[("a", "1")]).await;
    let (_, unanswered) = batches.recv().await.unwrap();
    drop(unanswered);
    // Not `stop`, which would wait for the batch: as after a crash.
    drop(first);
    let (_second, mut batches) = world.deliver(3).await;
    let (batch, _answer) = batches.recv().await.unwrap();
    assert_eq!(payloads(&batch), ["1"]);
}

#[tokio::test]
async fn a_commits_wake_ups_have_fired_when_it_is_answered() {
    let world = world().await;
    let watch = world.bus.watch("example.org", &["room:a"]).unwrap();
    let batch = Batch { wake: vec!["room:a".into()], positions: 1, ..Batch::default() };
    world.emitter.commit(batch).await.unwrap();
    assert!(watch.is_fired());
}
