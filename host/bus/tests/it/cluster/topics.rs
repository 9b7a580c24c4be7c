use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tessera_bus::{
    Attached, BoxFuture, Bus, Cluster, ConsumeError, Consumer, Deliverer, DeliveryConfig,
    TenantWake, WakeTenant,
};
use tessera_storage::{
    Batch, Database, DatabaseConfig, Delivery, Message, PluginSchema, Session, SessionGrant,
};
use tokio::sync::Notify;

use super::support::{Mortal, Server, bus, own_server, server, until};

/// A tenant's database, whose commits speak through the node `emitting`.
struct World {
    database: Database,
    emitter: Session,
    consumer: Session,
    attached: Attached,
    bus: Bus,
    _dir: TempDir,
}

fn schema(plugin: &str) -> PluginSchema {
    PluginSchema { plugin: plugin.into(), version: "0.1.0".into(), ..PluginSchema::default() }
}

impl World {
    async fn new(emitting: &Cluster) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bus = bus();
        let attached = emitting.attach(&bus, "example.org").await.unwrap();
        let wake = Arc::new(TenantWake::shared(&attached));
        let path = dir.path().join("tenant.db");
        let database = Database::open(&path, DatabaseConfig::default(), wake).await.unwrap();
        let session = |plugin: &str| {
            database.session(SessionGrant { plugin: plugin.into(), ..SessionGrant::default() })
        };
        database.install(schema("rooms")).await.unwrap();
        database.install(schema("push")).await.unwrap();
        database.register_consumer("events", "push").await.unwrap();
        attached.relay(database.clone());
        let (emitter, consumer) = (session("rooms"), session("push"));
        Self { database, emitter, consumer, attached, bus, _dir: dir }
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

    fn effects(&self) -> Arc<Effects> {
        Arc::new(Effects {
            session: self.consumer.clone(),
            log: Mutex::default(),
            handed: AtomicU32::new(0),
            fails: Box::new(|_| None),
        })
    }
}

fn config(retry_first: u64) -> DeliveryConfig {
    DeliveryConfig {
        topic: "events".into(),
        consumer: "push".into(),
        batch: 5,
        max_attempts: 20,
        retry_first: Duration::from_millis(retry_first),
        retry_max: Duration::from_secs(1),
    }
}

/// A consumer on one node.
struct Running {
    deliverer: Deliverer,
    _attached: Option<Attached>,
}

async fn consume(cluster: &Cluster, world: &World, consumer: Arc<dyn Consumer>) -> Running {
    let attached = cluster.attach(&world.bus, "example.org").await.unwrap();
    attached.relay(world.database.clone());
    let database = world.database.clone();
    let deliverer = Deliverer::shared(&attached, database, config(5), consumer).await.unwrap();
    Running { deliverer, _attached: Some(attached) }
}

type Fails = Box<dyn Fn(&Delivery) -> Option<ConsumeError> + Send + Sync>;

/// Consumes with its own commit, as plug-ins do, and notes what had an effect.
struct Effects {
    session: Session,
    log: Mutex<Vec<(String, String)>>,
    handed: AtomicU32,
    fails: Fails,
}

impl Consumer for Effects {
    fn consume(&self, batch: Vec<Delivery>) -> BoxFuture<'_, Result<u32, ConsumeError>> {
        Box::pin(async move {
            let mut done = 0;
            for message in batch {
                self.handed.fetch_add(1, Ordering::SeqCst);
                if let Some(error) = (self.fails)(&message) {
                    return if done == 0 { Err(error) } else { Ok(done) };
                }
                let commit = Batch { done: Some(message.id), ..Batch::default() };
                let committed = self.session.commit(commit).await.unwrap();
                if !committed.duplicate {
                    self.log.lock().unwrap().push((message.key, message.payload));
                }
                done += 1;
            }
            Ok(done)
        })
    }
}

impl Effects {
    fn count(&self) -> usize {
        self.log.lock().unwrap().len()
    }
}

/// Messages of each key, in order of their effects.
fn by_key(log: &[(String, String)]) -> BTreeMap<String, Vec<u32>> {
    let mut keys = BTreeMap::<_, Vec<u32>>::new();
    for (key, payload) in log {
        keys.entry(key.clone()).or_default().push(payload.parse().unwrap());
    }
    keys
}

/// Every key has had 0, 1, 2 … `each`, in this order, once.
fn assert_complete(log: &[(String, String)], keys: u32, each: u32) {
    let seen = by_key(log);
    assert_eq!(seen.len(), keys as usize);
    for (key, order) in seen {
        assert_eq!(order, (0..each).collect::<Vec<_>>(), "key {key}");
    }
}

/// One message to each key.
async fn emit(world: &World, keys: u32, number: u32) {
    let (keys, payload) = ((0..keys).map(|key| format!("key {key}")), number.to_string());
    let keys: Vec<_> = keys.collect();
    let messages: Vec<_> = keys.iter().map(|key| (key.as_str(), payload.as_str())).collect();
    world.emit(&messages).await;
}

async fn emit_all(world: &World, keys: u32, each: u32) {
    for number in 0..each {
        emit(world, keys, number).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_reaches_its_consumer_on_another_node() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let world = World::new(&one).await;
    // Emitted before anybody is there to take it.
    world.emit(&[("a", "0")]).await;
    let effects = world.effects();
    let running = consume(&two, &world, effects.clone()).await;
    until("it has come", || effects.count() == 1).await;
    world.emit(&[("a", "1"), ("a", "2"), ("b", "0")]).await;
    until("all have come", || effects.count() == 4).await;
    assert_eq!(by_key(&effects.log.lock().unwrap())["a"], [0, 1, 2]);
    until("they are counted", || running.deliverer.stats().done == 4).await;
    running.deliverer.stop().await;
    world.emit(&[("a", "3")]).await;
    let effects = world.effects();
    let _one = consume(&one, &world, effects.clone()).await;
    until("the other node has it", || effects.count() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_share_the_work_and_keep_each_keys_order_through_failures() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let world = World::new(&one).await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut running = Vec::new();
    let mut handed = Vec::new();
    for cluster in [&one, &two] {
        let effects = Arc::new(Shared {
            effects: Effects {
                // Some messages fail once or twice.
                fails: Box::new(|message| {
                    let number: u64 = message.payload.parse().unwrap();
                    let fails = u32::from((number + message.id).is_multiple_of(5)) * 2;
                    (message.attempts < fails).then(|| ConsumeError::Failed("not now".into()))
                }),
                session: world.consumer.clone(),
                log: Mutex::default(),
                handed: AtomicU32::new(0),
            },
            log: Arc::clone(&log),
        });
        handed.push(effects.clone());
        running.push(consume(cluster, &world, effects).await);
    }
    // Who has just joined may find that the other has done it all: on until both have had something.
    let part = || handed.iter().all(|it| it.effects.handed.load(Ordering::SeqCst) > 0);
    let end = super::support::soon();
    let mut emitted = 0;
    while emitted < 12 || !part() {
        assert!(tokio::time::Instant::now() < end, "a replica has nothing to do");
        emit(&world, 16, emitted).await;
        emitted += 1;
    }
    until("all have had their effect", || log.lock().unwrap().len() >= 16 * emitted as usize).await;
    assert_complete(&log.lock().unwrap(), 16, emitted);
    for running in running {
        running.deliverer.stop().await;
    }
}

/// Effects of several replicas in one log, in order: appended while the message is still in hand.
struct Shared {
    effects: Effects,
    log: Arc<Mutex<Vec<(String, String)>>>,
}

impl Consumer for Shared {
    fn consume(&self, batch: Vec<Delivery>) -> BoxFuture<'_, Result<u32, ConsumeError>> {
        Box::pin(async move {
            let outcome = self.effects.consume(batch).await;
            self.log.lock().unwrap().append(&mut self.effects.log.lock().unwrap());
            outcome
        })
    }
}

/// Takes messages and never ends.
#[derive(Default)]
struct Hangs {
    taken: Arc<Notify>,
}

impl Consumer for Hangs {
    fn consume(&self, _: Vec<Delivery>) -> BoxFuture<'_, Result<u32, ConsumeError>> {
        Box::pin(async move {
            self.taken.notify_one();
            std::future::pending().await
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_replica_had_in_hand_goes_to_another() {
    let Some(server) = server() else { return };
    let one = server.join("one").await;
    let world = Arc::new(World::new(&one).await);
    let (mortal, config) = (Mortal::new(), server.config("two"));
    let hangs = Arc::new(Hangs::default());
    let held = mortal
        .run({
            let (world, hangs) = (Arc::clone(&world), hangs.clone());
            async move {
                let two = Cluster::connect(config).await.unwrap();
                let running = consume(&two, &world, hangs).await;
                (two, running)
            }
        })
        .await;
    world.emit(&[("a", "0"), ("a", "1")]).await;
    hangs.taken.notified().await;
    let effects = world.effects();
    let _running = consume(&one, &world, effects.clone()).await;
    mortal.kill();
    std::mem::forget(held);
    until("the other has done it", || effects.count() == 2).await;
    assert_complete(&effects.log.lock().unwrap(), 1, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_message_is_not_given_to_a_second_replica() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let world = World::new(&one).await;
    let hangs = Arc::new(Hangs::default());
    let running = consume(&two, &world, hangs.clone()).await;
    world.emit(&[("a", "0")]).await;
    hangs.taken.notified().await;
    let effects = world.effects();
    let _other = consume(&one, &world, effects.clone()).await;
    // Longer than a silent node keeps a hint. Nothing to poll for: it must not come.
    tokio::time::sleep(Duration::from_millis(6_000)).await;
    assert_eq!(effects.handed.load(Ordering::SeqCst), 0);
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_key_does_not_hold_back_others() {
    let Some(server) = server() else { return };
    let one = server.join("one").await;
    let world = World::new(&one).await;
    let broken = Arc::new(AtomicBool::new(true));
    let effects = Arc::new(Effects {
        fails: Box::new({
            let broken = Arc::clone(&broken);
            move |message| match message.key.as_str() {
                "bad" if broken.load(Ordering::SeqCst) => {
                    Some(ConsumeError::Failed("broken".into()))
                }
                "away" if message.payload == "0" && broken.load(Ordering::SeqCst) => {
                    Some(ConsumeError::Unavailable("restarting".into()))
                }
                _ => None,
            }
        }),
        session: world.consumer.clone(),
        log: Mutex::default(),
        handed: AtomicU32::new(0),
    });
    let running = consume(&one, &world, effects.clone()).await;
    world.emit(&[("bad", "0"), ("away", "0")]).await;
    until("it has failed", || running.deliverer.stats().failed > 0).await;
    // More keys than partitions: some share one with the bad key.
    emit_all(&world, 20, 2).await;
    until("the others are done", || effects.count() == 40).await;
    broken.store(false, Ordering::SeqCst);
    until("the bad ones are done too", || effects.count() == 42).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeping_tenant_is_woken_by_its_message() {
    struct Wakes {
        cluster: Cluster,
        world: Arc<World>,
        effects: Arc<Effects>,
        running: Mutex<Option<Running>>,
        woken: AtomicU32,
    }
    impl WakeTenant for Wakes {
        fn wake<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, bool> {
            Box::pin(async move {
                assert_eq!(tenant, "example.org");
                if self.woken.fetch_add(1, Ordering::SeqCst) == 0 {
                    let running = consume(&self.cluster, &self.world, self.effects.clone()).await;
                    *self.running.lock().unwrap() = Some(running);
                }
                true
            })
        }
    }
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let world = Arc::new(World::new(&one).await);
    two.offer("push", "events");
    let wakes = Arc::new(Wakes {
        cluster: two.clone(),
        effects: world.effects(),
        world: Arc::clone(&world),
        running: Mutex::default(),
        woken: AtomicU32::new(0),
    });
    two.wake_with(wakes.clone());
    world.emit(&[("a", "0")]).await;
    until("it was woken and has consumed", || wakes.effects.count() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_waits_for_what_is_in_hand_and_takes_no_more() {
    struct Gate {
        taken: Notify,
        go: Notify,
        seen: AtomicU32,
    }
    impl Consumer for Gate {
        fn consume(&self, batch: Vec<Delivery>) -> BoxFuture<'_, Result<u32, ConsumeError>> {
            Box::pin(async move {
                self.seen.fetch_add(batch.len() as u32, Ordering::SeqCst);
                self.taken.notify_one();
                self.go.notified().await;
                Ok(batch.len() as u32)
            })
        }
    }
    let Some(server) = server() else { return };
    let one = server.join("one").await;
    let world = World::new(&one).await;
    let gate = Arc::new(Gate { taken: Notify::new(), go: Notify::new(), seen: AtomicU32::new(0) });
    let running = consume(&one, &world, gate.clone()).await;
    world.emit(&[("a", "0")]).await;
    gate.taken.notified().await;
    let leaving = tokio::spawn({
        let one = one.clone();
        async move { one.leave_topics().await }
    });
    tokio::task::yield_now().await;
    assert!(!leaving.is_finished());
    gate.go.notify_one();
    leaving.await.unwrap();
    until("it is settled", || running.deliverer.stats().done == 1).await;
    world.emit(&[("b", "0")]).await;
    let two = server.join("two").await;
    let effects = world.effects();
    let _two = consume(&two, &world, effects.clone()).await;
    until("the other node has it", || effects.count() == 1).await;
    assert_eq!(gate.seen.load(Ordering::SeqCst), 1);
}

/// Emits and consumes on two nodes while `harm` is done to NATS, again and again.
async fn under_load(mut server: Server, harm: impl Fn(&mut Server)) {
    let (one, two) = (server.join("one").await, server.join("two").await);
    let world = Arc::new(World::new(&one).await);
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut running = Vec::new();
    for cluster in [&one, &two] {
        let effects = Effects {
            fails: Box::new(|_| None),
            session: world.consumer.clone(),
            log: Mutex::default(),
            handed: AtomicU32::new(0),
        };
        let shared = Arc::new(Shared { effects, log: Arc::clone(&log) });
        running.push(consume(cluster, &world, shared).await);
    }
    let emitting = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            for number in 0..120_u32 {
                emit(&world, 10, number).await;
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        }
    });
    for rounds in 1..4 {
        let before = log.lock().unwrap().len();
        until("messages are consumed", || log.lock().unwrap().len() > before).await;
        harm(&mut server);
        for cluster in [&one, &two] {
            let back = || {
                let connection = *cluster.connection().borrow();
                connection.connected && connection.losses >= rounds
            };
            until("the nodes are connected again", back).await;
        }
    }
    emitting.await.unwrap();
    until("all have had their effect", || log.lock().unwrap().len() >= 1_200).await;
    assert_complete(&log.lock().unwrap(), 10, 120);
    let waiting: BTreeSet<u64> =
        world.database.consumers().await.unwrap().iter().map(|it| it.pending + it.dead).collect();
    assert_eq!(waiting, BTreeSet::from([0]));
    drop(running);
    drop(world);
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_of_nats_under_load_lose_nothing() {
    let Some(server) = own_server() else { return };
    under_load(server, |server| server.nats().restart().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_nats_under_load_loses_nothing() {
    let Some(server) = own_server() else { return };
    under_load(server, |server| {
        server.nats().wipe().unwrap();
        server.nats().restart().unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_detached_lets_its_database_go() {
    let Some(server) = server() else { return };
    let one = server.join("one").await;
    let world = World::new(&one).await;
    let running = consume(&one, &world, world.effects()).await;
    running.deliverer.stop().await;
    let World { database, emitter, consumer, attached, _dir: dir, .. } = world;
    attached.on_horizon({
        let database = database.clone();
        move |_| drop(database.clone())
    });
    drop((running._attached, attached, emitter, consumer));
    drop(database);
    let path = dir.path().join("tenant.db");
    let end = super::support::soon();
    let quiet = || Arc::new(TenantWake::new(Bus::default(), "t"));
    while let Err(error) = Database::open(&path, DatabaseConfig::default(), quiet()).await {
        assert!(tokio::time::Instant::now() < end, "somebody holds the database: {error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
