//! Nodes on a NATS server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tessera_bus::{Bus, BusConfig, Cluster, ClusterConfig};
use tessera_test_services::Nats;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A NATS server: the run's own, or one for this test alone.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) own: Option<Nats>,
    prefix: String,
}

fn prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("test{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The server of the whole run, or a new one. `None`, and a line that says so, where there is no NATS.
pub(crate) fn server() -> Option<Server> {
    match std::env::var("TESSERA_TEST_NATS") {
        Ok(url) => Some(Server { url, own: None, prefix: prefix() }),
        Err(_) => own_server(),
    }
}

/// A server for this test alone, to be stopped and emptied.
pub(crate) fn own_server() -> Option<Server> {
    if let Err(reason) = Nats::installed() {
        eprintln!("skipped: {reason}");
        return None;
    }
    let nats = Nats::start().unwrap();
    Some(Server { url: nats.url(), own: Some(nats), prefix: prefix() })
}

impl Server {
    pub(crate) fn config(&self, node: &str) -> ClusterConfig {
        ClusterConfig {
            servers: vec![self.url.clone()],
            prefix: self.prefix.clone(),
            node: node.to_owned(),
            stream_bytes: 16 << 20,
            ..ClusterConfig::default()
        }
    }

    pub(crate) async fn join(&self, node: &str) -> Cluster {
        Cluster::connect(self.config(node)).await.unwrap()
    }

    pub(crate) fn nats(&mut self) -> &mut Nats {
        self.own.as_mut().unwrap()
    }
}

/// Has what the nodes log printed where `RUST_LOG` says what.
pub(crate) fn log() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

/// A bus with the seed that all nodes of these tests share.
pub(crate) fn bus() -> Bus {
    Bus::new(BusConfig { seed: Some(*b"one seed for all"), ..BusConfig::default() })
}

/// Waits until something holds; fails when it does not in time.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// A node in a runtime of its own, so that it can be killed: all its tasks and sockets go at once, without a word.
pub(crate) struct Mortal(Option<Runtime>);

impl Mortal {
    pub(crate) fn new() -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        Self(Some(runtime.worker_threads(1).enable_all().build().unwrap()))
    }

    /// Runs something there, to its end.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.0.as_ref().unwrap().spawn(work).await.unwrap()
    }

    pub(crate) fn kill(mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
