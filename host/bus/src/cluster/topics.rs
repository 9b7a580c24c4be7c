//! Durable topics between nodes.
//!
//! The database's outbox is the truth. JetStream carries *hints*: this key of this topic of this tenant has messages.
//! The node that gets a hint reads the messages from the database, hands them over and settles them there, and only
//! then acknowledges the hint. Hints may be lost, doubled or late: the relay sends them again for whatever stays
//! unsettled. So JetStream can be stopped, restarted or emptied, and no message is lost.
//!
//! Order: hints of one key share a partition, and of a partition one hint at a time is in hand, on whichever node.

mod group;
mod relay;
mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tessera_storage::{Database, Error};
use tokio::sync::{Notify, mpsc, watch};

pub(crate) use self::group::Group;
pub(crate) use self::relay::Relay;
use super::wakes::lock;
use super::{Attached, Cluster, Shared};
use crate::delivery::{BoxFuture, Consumer, Deliverer, DeliveryConfig, Work};

/// Hints that wait to be sent. Above it the relay sends them later.
const QUEUE: usize = 8_192;

/// Says that a key has messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hint {
    pub(crate) tenant: String,
    pub(crate) topic: String,
    pub(crate) key: String,
    /// The first message that may be delivered.
    pub(crate) id: u64,
    /// For this consumer only.
    pub(crate) consumer: Option<String>,
    /// Tells apart a hint that is sent again: the server drops doubles.
    pub(crate) again: u64,
}

/// Wakes tenants that sleep on this node.
pub trait WakeTenant: Send + Sync + 'static {
    /// A message has come for a tenant whose consumers are not running here. Wakes it, so that they are when this
    /// returns; false where that cannot be: another node is asked later.
    fn wake<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, bool>;
}

/// The durable topics of a node.
pub(crate) struct Topics {
    pub(crate) context: async_nats::jetstream::Context,
    /// Counts the streams that we have seen: whatever was in the one before is gone, or may be.
    pub(crate) epoch: watch::Sender<u64>,
    /// Something did not work that the stream's absence may explain.
    pub(crate) doubt: Notify,
    /// Set once: no more messages are taken.
    pub(crate) leaving: watch::Sender<bool>,
    groups: Mutex<HashMap<(String, String), Arc<Group>>>,
    outgoing: mpsc::Sender<Hint>,
    waker: RwLock<Option<Arc<dyn WakeTenant>>>,
}

impl Topics {
    pub(crate) fn new(client: &async_nats::Client) -> (Self, mpsc::Receiver<Hint>) {
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let topics = Self {
            context: stream::context(client),
            epoch: watch::Sender::new(0),
            doubt: Notify::new(),
            leaving: watch::Sender::new(false),
            groups: Mutex::default(),
            outgoing,
            waker: RwLock::default(),
        };
        (topics, queue)
    }

    fn waker(&self) -> Option<Arc<dyn WakeTenant>> {
        self.waker.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shared {
    /// Whether all hints have left the queue.
    pub(crate) fn hints_sent(&self) -> bool {
        self.topics.outgoing.capacity() == self.topics.outgoing.max_capacity()
    }

    fn group(self: &Arc<Self>, consumer: &str, topic: &str) -> Arc<Group> {
        let mut groups = lock(&self.topics.groups);
        let key = (consumer.to_owned(), topic.to_owned());
        let group =
            groups.entry(key).or_insert_with(|| Arc::new(Group::start(self, consumer, topic)));
        Arc::clone(group)
    }
}

impl Shared {
    pub(crate) fn abort_groups(&self) {
        for (_, group) in lock(&self.topics.groups).drain() {
            group.abort();
        }
    }
}

impl Cluster {
    /// This node runs the plug-in `consumer`, so it takes messages of `topic` for it, of whatever tenant. To be said at
    /// the start for each, so that messages of tenants that sleep here find somebody.
    pub fn offer(&self, consumer: &str, topic: &str) {
        self.shared.group(consumer, topic);
    }

    /// Who wakes a tenant that sleeps on this node when a message has come for it.
    pub fn wake_with(&self, waker: Arc<dyn WakeTenant>) {
        let place = &self.shared.topics.waker;
        *place.write().unwrap_or_else(PoisonError::into_inner) = Some(waker);
    }

    /// Takes no more messages of durable topics, and waits until those in hand are settled. For a node that stops; its
    /// relays go on.
    pub async fn leave_topics(&self) {
        self.shared.topics.leaving.send_replace(true);
        let groups: Vec<_> = lock(&self.shared.topics.groups).drain().collect();
        for (_, group) in groups {
            group.ended().await;
        }
    }
}

impl Attached {
    /// Sees to it that the tenant's messages reach their consumers, wherever these run. To be said once for each
    /// attachment, also where no consumer runs on this node; ends with it.
    pub fn relay(&self, database: Database) {
        let relay = Relay::start(&self.shared, &self.attachment, database);
        *lock(&self.attachment.relay) = Some(relay);
    }
}

impl Deliverer {
    /// As [`Deliverer::start`], sharing the messages with the other nodes on which this consumer runs.
    ///
    /// # Errors
    /// The consumer cannot be registered in the database.
    pub async fn shared(
        attached: &Attached,
        database: Database,
        config: DeliveryConfig,
        consumer: Arc<dyn Consumer>,
    ) -> Result<Self, Error> {
        database.register_consumer(&config.topic, &config.consumer).await?;
        if lock(&attached.attachment.relay).is_none() {
            attached.relay(database.clone());
        }
        let work = Work::new(database, config.clone(), consumer);
        let counters = work.counters();
        let (stop, mut stopped) = watch::channel(false);
        let group = attached.shared.group(&config.consumer, &config.topic);
        let target = group.add(&attached.attachment, work);
        let task = tokio::spawn(async move {
            // An error means that the handle is gone, which stops as well.
            let _ = stopped.wait_for(|stopped| *stopped).await;
            group.remove(&target);
            target.idle().await;
        });
        Ok(Self::with(config, counters, stop, task))
    }
}
