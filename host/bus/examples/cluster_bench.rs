//! Measures the bus between two nodes in this process, on a real NATS server:
//! `cargo run --release -p tessera-bus --example cluster_bench [URL]`. Without a URL it starts a server.
#![allow(clippy::print_stdout, reason = "it prints what it measures")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use tessera_bus::{
    BoxFuture, Bus, BusConfig, CallHeaders, Cluster, ClusterConfig, ConsumeError, Consumer,
    Deliverer, DeliveryConfig, Serve, TenantWake,
};
use tessera_storage::{
    Batch, Database, DatabaseConfig, Delivery, Message, PluginSchema, Session, SessionGrant, Wake,
};
use tessera_test_services::Nats;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

struct Echo;

impl Serve for Echo {
    fn serve<'a>(&'a self, payload: Bytes, _: CallHeaders) -> BoxFuture<'a, Bytes> {
        Box::pin(async move { payload })
    }
}

struct Done {
    session: Session,
    count: Arc<AtomicU64>,
}

impl Consumer for Done {
    fn consume(&self, batch: Vec<Delivery>) -> BoxFuture<'_, Result<u32, ConsumeError>> {
        Box::pin(async move {
            let mut done = 0;
            for message in batch {
                let commit = Batch { done: Some(message.id), ..Batch::default() };
                let committed = self.session.commit(commit).await;
                committed.map_err(|error| ConsumeError::Unavailable(error.to_string()))?;
                done += 1;
            }
            self.count.fetch_add(u64::from(done), Ordering::Relaxed);
            Ok(done)
        })
    }
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| {
        let index = ((times.len() as f64 - 1.0) * share) as usize;
        times.get(index).copied().unwrap_or_default().as_micros()
    };
    format!("median {} µs, 99 % {} µs", at(0.5), at(0.99))
}

fn bus() -> Bus {
    Bus::new(BusConfig { seed: Some([7; 16]), ..BusConfig::default() })
}

#[tokio::main]
async fn main() -> Outcome {
    let url = std::env::args().nth(1);
    let own = if url.is_none() { Some(Nats::start()?) } else { None };
    let url = url.or_else(|| own.as_ref().map(Nats::url)).unwrap_or_default();
    let config = |node: &str| ClusterConfig {
        servers: vec![url.clone()],
        prefix: format!("bench{}", std::process::id()),
        node: node.to_owned(),
        ..ClusterConfig::default()
    };
    let one = Cluster::connect(config("one")).await?;
    let two = Cluster::connect(config("two")).await?;
    calls(&one, &two).await?;
    wakes(&one, &two).await?;
    topics(&one, &two).await?;
    one.close().await;
    two.close().await;
    Ok(())
}

async fn call(cluster: &Cluster, payload: &Bytes) -> Outcome<Duration> {
    let start = Instant::now();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    cluster.call("echo", payload.clone(), deadline).await?;
    Ok(start.elapsed())
}

async fn calls(one: &Cluster, two: &Cluster) -> Outcome {
    let served = two.serve("echo", Arc::new(Echo)).await?;
    for (name, size, times) in
        [("200 bytes", 200, 5_000), ("64 KiB", 64 << 10, 500), ("10 MB", 10_000_000, 10)]
    {
        let payload = Bytes::from(vec![1; size]);
        let mut all = Vec::new();
        for _ in 0..times {
            all.push(call(one, &payload).await?);
        }
        println!("call, {name} there and back, one at a time: {}", spread(all));
    }
    let payload = Bytes::from(vec![1; 200]);
    let start = Instant::now();
    let many = (0..64).map(|_| async {
        for _ in 0..500 {
            call(one, &payload).await?;
        }
        Outcome::Ok(())
    });
    join_all(many).await.into_iter().collect::<Outcome<Vec<()>>>()?;
    println!("calls, 64 at a time: {:.0}/s", 32_000.0 / start.elapsed().as_secs_f64());
    drop(served);
    Ok(())
}

async fn wakes(one: &Cluster, two: &Cluster) -> Outcome {
    let (here, there) = (bus(), bus());
    let attached = one.attach(&here, "t").await?;
    let _other = two.attach(&there, "t").await?;
    let wake = TenantWake::shared(&attached);
    let mut all = Vec::new();
    for number in 0..5_000_u64 {
        let topic = format!("room:{number}");
        let watch = there.watch("t", &[topic.as_str()])?;
        let start = Instant::now();
        wake.committed(&[topic], number);
        watch.fired().await;
        all.push(start.elapsed());
    }
    println!("wake-up of a watch on the other node: {}", spread(all));
    Ok(())
}

async fn topics(one: &Cluster, two: &Cluster) -> Outcome {
    let dir = tempfile::tempdir()?;
    let attached = one.attach(&bus(), "t").await?;
    let wake = Arc::new(TenantWake::shared(&attached));
    let path = dir.path().join("tenant.db");
    let database = Database::open(&path, DatabaseConfig::default(), wake).await?;
    let session = |plugin: &str| {
        database.session(SessionGrant { plugin: plugin.into(), ..SessionGrant::default() })
    };
    for plugin in ["rooms", "push"] {
        let version = "0.1.0".to_owned();
        let schema = PluginSchema { plugin: plugin.into(), version, ..PluginSchema::default() };
        database.install(schema).await?;
    }
    attached.relay(database.clone());
    let there = two.attach(&bus(), "t").await?;
    let count = Arc::new(AtomicU64::new(0));
    let consumer = Arc::new(Done { session: session("push"), count: Arc::clone(&count) });
    let config = DeliveryConfig {
        topic: "events".into(),
        consumer: "push".into(),
        batch: 32,
        max_attempts: 5,
        retry_first: Duration::from_millis(100),
        retry_max: Duration::from_secs(1),
    };
    let deliverer = Deliverer::shared(&there, database.clone(), config, consumer).await?;
    let emitter = session("rooms");
    let emit = |key: u64| {
        let message =
            Message { topic: "events".into(), key: key.to_string(), payload: "{}".into() };
        emitter.commit(Batch { messages: vec![message], ..Batch::default() })
    };
    let reached = async |wanted: u64| {
        while count.load(Ordering::Relaxed) < wanted {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    };
    emit(0).await?;
    reached(1).await;
    let mut all = Vec::new();
    for number in 1..300 {
        let start = Instant::now();
        emit(number % 50).await?;
        reached(number + 1).await;
        all.push(start.elapsed());
    }
    println!("message, commit to its consumer's commit on the other node: {}", spread(all));
    let before = count.load(Ordering::Relaxed);
    let start = Instant::now();
    let many = (0..40).map(|key| async move {
        for _ in 0..100 {
            emit(key).await?;
        }
        Outcome::Ok(())
    });
    join_all(many).await.into_iter().collect::<Outcome<Vec<()>>>()?;
    let emitted = start.elapsed();
    reached(before + 4_000).await;
    println!(
        "messages, 4000 of 40 keys: {:.0}/s committed, {:.0}/s consumed, {:?}",
        4_000.0 / emitted.as_secs_f64(),
        4_000.0 / start.elapsed().as_secs_f64(),
        one.stats()
    );
    deliverer.stop().await;
    Ok(())
}
