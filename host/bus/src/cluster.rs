//! The bus between nodes, on NATS.
//!
//! [`Cluster`] is a process's one connection. It carries *wake-ups* ([`Cluster::attach`]), *calls* ([`Cluster::call`],
//! [`Cluster::serve`]), *durable topics* ([`crate::Deliverer::shared`]) and the nodes' heartbeats ([`Cluster::nodes`]).
//! It reconnects for ever; what a lost connection may have lost is made good.

mod call;
mod config;
mod connect;
mod counts;
mod frame;
mod inbox;
mod nodes;
mod serve;
mod subject;
mod topics;
mod transfer;
mod wakes;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tessera_storage::now_ms;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

pub use self::call::{CallFailure, CallHeaders};
pub use self::config::{ClusterConfig, ClusterError, ClusterTls, Credentials};
pub use self::connect::Connection;
pub use self::counts::ClusterStats;
use self::counts::Counts;
use self::frame::Frame;
use self::inbox::Inbox;
pub use self::nodes::NodeInfo;
use self::nodes::{BEAT, Beat, Nodes};
pub use self::serve::{Serve, Served};
use self::topics::Topics;
pub use self::topics::WakeTenant;
pub use self::wakes::Attached;
pub(crate) use self::wakes::Attachment;
use self::wakes::{Wakes, lock};

/// How long to wait for our own message to come back.
const FENCE: Duration = Duration::from_secs(2);
/// How often silent nodes are looked for.
const WATCH: Duration = Duration::from_millis(100);

type Document = Arc<dyn Fn() -> Value + Send + Sync>;

/// This process's part in a cluster. A cheap handle, cloned freely; [`Cluster::close`] ends it.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    config: ClusterConfig,
    /// This run of the node.
    id: String,
    since_ms: u64,
    client: async_nats::Client,
    state: connect::State,
    inbox: Inbox,
    nodes: Arc<Nodes>,
    wakes: Wakes,
    topics: Topics,
    document: Mutex<Option<Document>>,
    draining: AtomicBool,
    beat_now: Notify,
    counts: Counts,
    /// Payloads in parts that are being put together, in KiB.
    parts: Semaphore,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Cluster {
    /// Joins the cluster.
    ///
    /// # Errors
    /// See [`ClusterError`]: settings, no connection within [`ClusterConfig::connect_timeout`], no stream.
    pub async fn connect(config: ClusterConfig) -> Result<Self, ClusterError> {
        let (client, state) = connect::connect(&config).await?;
        let number = rand_id();
        let id = format!("{number:016x}");
        let (wakes, wakes_queue) = Wakes::new(number);
        let (topics, hints_queue) = Topics::new(&client);
        let shared = Arc::new(Shared {
            inbox: Inbox::new(&config.prefix, &id),
            nodes: Arc::new(Nodes::new(&id)),
            since_ms: now_ms(),
            config,
            id,
            client,
            state,
            wakes,
            topics,
            document: Mutex::default(),
            draining: AtomicBool::new(false),
            beat_now: Notify::new(),
            counts: Counts::default(),
            parts: Semaphore::new(transfer::TOGETHER_KIB as usize),
            tasks: Mutex::default(),
        });
        shared.first_stream().await?;
        let closed = |_| ClusterError::Closed;
        let inbox = shared.client.subscribe(shared.inbox.subject()).await.map_err(closed)?;
        let beats = format!("{}.node.*", shared.config.prefix);
        let beats = shared.client.subscribe(beats).await.map_err(closed)?;
        shared.spawn(Arc::clone(&shared).take_frames(inbox));
        shared.spawn(Arc::clone(&shared).hear(beats));
        let of = |shared: &Arc<Shared>| Arc::clone(shared);
        let it = of(&shared);
        shared.spawn(async move { it.beat().await });
        let it = of(&shared);
        shared.spawn(async move { it.watch_over().await });
        let it = of(&shared);
        shared.spawn(async move { it.send_wakes(wakes_queue).await });
        let it = of(&shared);
        shared.spawn(async move { it.wakes.make_good().await });
        let it = of(&shared);
        shared.spawn(async move { it.keep_stream().await });
        let it = of(&shared);
        shared.spawn(async move { it.send_hints(hints_queue).await });
        shared.fence().await;
        Ok(Self { shared })
    }

    /// The node's name.
    pub fn node(&self) -> &str {
        &self.shared.config.node
    }

    /// This run of the node, as in [`NodeInfo::id`].
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// The connection's state, and a way to wait for its changes.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.shared.state.subscribe()
    }

    /// All nodes that are heard of, this one too, by name.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.shared.nodes.list()
    }

    /// How many nodes there are, this one too; at least one.
    pub fn live(&self) -> usize {
        self.shared.nodes.live().max(1)
    }

    /// Changes whenever a node comes, goes, or says something new.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.nodes.changes()
    }

    /// What this node says of itself, asked for each heartbeat: up to 60 KiB of JSON.
    pub fn describe(&self, document: impl Fn() -> Value + Send + Sync + 'static) {
        *lock(&self.shared.document) = Some(Arc::new(document));
        self.shared.beat_now.notify_one();
    }

    /// Tells the other nodes that this one is about to stop.
    pub fn set_draining(&self, draining: bool) {
        self.shared.draining.store(draining, Ordering::Release);
        self.shared.beat_now.notify_one();
    }

    /// Leaves the cluster: sends what is queued, says good-bye and ends. Drain services and topics first.
    pub async fn close(&self) {
        let shared = &self.shared;
        shared.topics.leaving.send_replace(true);
        let end = Instant::now() + FENCE;
        while !(shared.wakes.sent() && shared.hints_sent()) && Instant::now() < end {
            sleep(WATCH / 20).await;
        }
        shared.abort_groups();
        for task in lock(&shared.tasks).drain(..) {
            task.abort();
        }
        let good_bye = async {
            shared.send_beat(true).await;
            let _ = shared.client.flush().await;
            let _ = shared.client.drain().await;
        };
        if timeout(FENCE, good_bye).await.is_err() {
            tracing::warn!("left the cluster without a good-bye");
        }
    }
}

fn rand_id() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one((std::process::id(), now_ms()))
}

impl Shared {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        lock(&self.tasks).push(tokio::spawn(task).abort_handle());
    }

    fn connected(&self) -> bool {
        self.state.borrow().connected
    }

    /// Waits until the server has done what we asked it before, and whatever it sent us before is here: our own
    /// message has come back. At once where there is no connection, and at last after two seconds: a lost connection
    /// is made good by other means.
    async fn fence(&self) {
        if !self.connected() {
            return;
        }
        let Some(mut port) = self.inbox.open() else { return };
        let came_back = async {
            if self.tell(&port.port, &Frame::Got(0)).await.is_ok() {
                port.frames.recv().await;
            }
        };
        if timeout(FENCE, came_back).await.is_err() {
            tracing::warn!("NATS is slow: a message to ourselves took more than {FENCE:?}");
        }
    }

    async fn take_frames(self: Arc<Self>, mut frames: async_nats::Subscriber) {
        while let Some(message) = frames.next().await {
            if let Some(port) = self.inbox.deliver(message)
                && let Err(error) = self.tell(&port, &Frame::Cancel).await
            {
                tracing::debug!(error, "a call could not be cancelled");
            }
        }
    }

    async fn hear(self: Arc<Self>, mut beats: async_nats::Subscriber) {
        while let Some(message) = beats.next().await {
            match serde_json::from_slice::<Beat>(&message.payload) {
                Ok(beat) => {
                    if beat.id == self.id && beat.gone {
                        continue;
                    }
                    self.nodes.heard(beat);
                }
                Err(error) => tracing::debug!(%error, "a heartbeat that this version cannot read"),
            }
        }
    }

    async fn beat(&self) {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.beat_now.notified() => {}
            }
            let connected =
                matches!(self.client.connection_state(), async_nats::connection::State::Connected);
            // Events tell it earlier; should one be lost, this does not stay unknown.
            if connected != self.connected() {
                connect::set(&self.state, connected);
            }
            self.send_beat(false).await;
        }
    }

    async fn send_beat(&self, gone: bool) {
        let document = lock(&self.document).clone();
        let mut beat = Beat {
            name: self.config.node.clone(),
            id: self.id.clone(),
            since_ms: self.since_ms,
            draining: self.draining.load(Ordering::Acquire),
            gone,
            document: document.map_or(Value::Null, |document| document()),
        };
        let mut bytes = serde_json::to_vec(&beat).unwrap_or_default();
        if bytes.len() > nodes::LARGEST {
            tracing::warn!(bytes = bytes.len(), "what the node says of itself is too large");
            beat.document = Value::Null;
            bytes = serde_json::to_vec(&beat).unwrap_or_default();
        }
        // Known here at once, and without a connection too.
        if !gone {
            self.nodes.heard(beat);
        }
        if !self.connected() {
            return;
        }
        let subject = format!("{}.node.{}", self.config.prefix, self.id);
        if let Err(error) = self.client.publish(subject, bytes.into()).await {
            tracing::warn!(%error, "a heartbeat was not sent");
        }
    }

    /// Notices lost nodes and lost messages, and makes good what was missed.
    async fn watch_over(&self) {
        let mut state = self.state.subscribe();
        let mut seen = *state.borrow_and_update();
        let mut ticks = interval(WATCH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // A process that stood still has heard nobody.
        let mut last = Instant::now();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                changed = state.changed() => if changed.is_err() { return },
            }
            let now = *state.borrow_and_update();
            if last.elapsed() > nodes::SILENCE / 2 {
                self.nodes.excuse();
            }
            last = Instant::now();
            if now.connected && now.losses != seen.losses {
                tracing::info!("connected to NATS again");
                self.nodes.excuse();
                self.beat_now.notify_one();
                self.wakes.resend();
                self.wakes.missed(self.wakes.all());
                seen.losses = now.losses;
            }
            if now.overruns != seen.overruns {
                self.wakes.missed(self.wakes.all());
                seen.overruns = now.overruns;
            }
            // Who is not connected hears nobody.
            if now.connected && self.nodes.sweep() {
                self.wakes.missed(self.wakes.all());
            }
        }
    }
}
