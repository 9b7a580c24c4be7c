//! What this node takes from one topic for one plug-in, of all tenants.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_nats::jetstream::consumer::pull::MessagesErrorKind;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{AckKind, Message};
use futures::{FutureExt, StreamExt};
use tessera_storage::now_ms;
use tokio::sync::RwLock;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::Instrument;

use super::{Hint, stream};
use crate::cluster::Shared;
use crate::cluster::connect::chain;
use crate::cluster::subject::readable;
use crate::cluster::wakes::{Attachment, lock};
use crate::delivery::{Round, Work};

/// A hint whose node says nothing for so long goes to another.
const ACK_WAIT: Duration = Duration::from_secs(4);
/// How often a node says that it is still at it.
const PROGRESS: Duration = Duration::from_millis(1_300);
/// Rounds for one hint; a key with more messages gets another hint, so that others get their turn.
const ROUNDS: u32 = 16;
/// When to try again where the consumer or the database was not there.
const AWAY_MS: u64 = 1_000;
/// Pause after JetStream refused.
const PAUSE: Duration = Duration::from_millis(300);
/// A consumer that nobody asks for so long is forgotten by the server; it is made anew.
const INACTIVE: Duration = Duration::from_secs(3_600);
/// How long one request for hints stands, and how often the server says that it does.
const EXPIRES: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The first who asks gets hints from so long before.
const BEFORE_MS: u64 = 10_000;

/// One (plug-in, topic).
pub(crate) struct Group {
    consumer: String,
    topic: String,
    targets: Arc<Targets>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

type Targets = Mutex<HashMap<Arc<str>, Arc<Target>>>;

/// One tenant's consumer.
pub(crate) struct Target {
    attachment: Weak<Attachment>,
    tenant: Arc<str>,
    work: Work,
    /// Held for reading while a hint is in hand.
    in_hand: RwLock<()>,
}

impl Target {
    /// Waits until nothing is in hand.
    pub(crate) async fn idle(&self) {
        drop(self.in_hand.write().await);
    }

    /// Has the hint sent again at this time, by this node's relay.
    fn again(&self, mut hint: Hint, consumer: &str, at_ms: u64) {
        hint.consumer = Some(consumer.to_owned());
        hint.again = at_ms;
        let Some(attachment) = self.attachment.upgrade() else { return };
        if let Some(relay) = &*lock(&attachment.relay) {
            relay.due(at_ms, hint);
        }
    }
}

impl Group {
    pub(super) fn start(shared: &Arc<Shared>, consumer: &str, topic: &str) -> Self {
        let targets: Arc<Targets> = Arc::default();
        let task = |partition| {
            let taker = Taker {
                shared: Arc::clone(shared),
                consumer: consumer.to_owned(),
                topic: topic.to_owned(),
                partition,
                targets: Arc::clone(&targets),
            };
            tokio::spawn(taker.run())
        };
        let tasks = (0..shared.config.partitions.max(1)).map(task).collect();
        let (consumer, topic) = (consumer.to_owned(), topic.to_owned());
        Self { consumer, topic, targets, tasks: Mutex::new(tasks) }
    }

    pub(super) fn add(&self, attachment: &Arc<Attachment>, work: Work) -> Arc<Target> {
        let tenant = Arc::clone(&attachment.tenant);
        let target = Arc::new(Target {
            attachment: Arc::downgrade(attachment),
            tenant: Arc::clone(&tenant),
            work,
            in_hand: RwLock::new(()),
        });
        let before = lock(&self.targets).insert(tenant, Arc::clone(&target));
        if before.is_some() {
            tracing::warn!(self.topic, self.consumer, "a consumer took the place of another");
        }
        // What waits in the outbox already.
        if let Some(relay) = &*lock(&attachment.relay) {
            relay.look();
        }
        target
    }

    pub(super) fn remove(&self, target: &Arc<Target>) {
        let mut targets = lock(&self.targets);
        if targets.get(&target.tenant).is_some_and(|now| Arc::ptr_eq(now, target)) {
            targets.remove(&target.tenant);
        }
    }

    /// Waits until all tasks have ended.
    pub(super) async fn ended(&self) {
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of a durable topic failed");
            }
        }
    }

    pub(crate) fn abort(&self) {
        for task in &*lock(&self.tasks) {
            task.abort();
        }
    }
}

/// Takes the hints of one partition, one at a time.
struct Taker {
    shared: Arc<Shared>,
    consumer: String,
    topic: String,
    partition: u16,
    targets: Arc<Targets>,
}

impl Taker {
    async fn run(self) {
        let mut leaving = self.shared.topics.leaving.subscribe();
        let mut state = self.shared.state.subscribe();
        let mut missed = 0_u32;
        loop {
            tokio::select! {
                biased;
                // An error means that the cluster is gone.
                _ = leaving.wait_for(|leaving| *leaving) => return,
                connected = state.wait_for(|state| state.connected) => {
                    if connected.is_err() {
                        return;
                    }
                }
            }
            let mut epoch = self.shared.topics.epoch.subscribe();
            epoch.borrow_and_update();
            let losses = self.shared.state.borrow().losses;
            let mut hints = match self.ask().await {
                Ok(hints) => hints,
                Err(reason) => {
                    tracing::debug!(reason, self.topic, self.consumer, "no hints from JetStream");
                    self.shared.topics.doubt.notify_one();
                    sleep(PAUSE).await;
                    continue;
                }
            };
            loop {
                let hint = tokio::select! {
                    biased;
                    _ = leaving.wait_for(|leaving| *leaving) => return,
                    _ = epoch.changed() => break,
                    hint = hints.next() => hint,
                };
                match hint {
                    Some(Ok(message)) => {
                        missed = 0;
                        self.handle(&message).await;
                    }
                    Some(Err(error)) => {
                        tracing::debug!(
                            reason = chain(&error),
                            self.topic,
                            "no hints from JetStream"
                        );
                        // Once may be a pause of this node, which has not read what is there.
                        if error.kind() == MessagesErrorKind::MissingHeartbeat {
                            missed += 1;
                            if missed > 1 {
                                missed = 0;
                                self.dismiss(losses).await;
                            }
                        }
                        self.shared.topics.doubt.notify_one();
                        sleep(PAUSE).await;
                        break;
                    }
                    None => break,
                }
            }
        }
    }

    /// The name of what the server keeps for the partition.
    fn name(&self) -> String {
        let (consumer, topic) = (readable(&self.consumer), readable(&self.topic));
        format!("{consumer}_{topic}_{}", self.partition)
    }

    /// Has the server forget what it keeps for the partition: it neither hands out hints nor says that there are none,
    /// though the connection stands. Seen where two nodes made it at the same moment, on a server that had just lost its
    /// streams; it stays so for ever. Nothing is lost: the hints are there, and the relay sends what is missing.
    async fn dismiss(&self, losses: u64) {
        let state = *self.shared.state.borrow();
        if !state.connected || state.losses != losses {
            return;
        }
        tracing::warn!(
            self.topic,
            self.consumer,
            self.partition,
            "JetStream neither sends nor says that there is nothing: its consumer is made anew"
        );
        let (context, stream) = (&self.shared.topics.context, stream::name(&self.shared.config));
        if let Err(error) = context.delete_consumer_from_stream(self.name(), stream).await {
            tracing::debug!(reason = chain(&error), "a consumer was not removed");
        }
    }

    async fn ask(&self) -> Result<pull::Stream, String> {
        let config = &self.shared.config;
        let name = self.name();
        let since = i128::from(now_ms().saturating_sub(BEFORE_MS)) * 1_000_000;
        let start_time = async_nats::datetime::from_nanos(since).map_err(|e| e.to_string())?;
        let mut settings = pull::Config {
            durable_name: Some(name.clone()),
            filter_subject: stream::subject(config, &self.topic, self.partition),
            // Hints may be there a moment before who takes them. What is older and unsettled is sent again.
            deliver_policy: DeliverPolicy::ByStartTime { start_time },
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            // The order of a partition.
            max_ack_pending: 1,
            inactive_threshold: INACTIVE,
            ..pull::Config::default()
        };
        let (context, stream) = (&self.shared.topics.context, stream::name(config));
        let known = context.get_consumer_from_stream::<pull::Config, _, _>(&name, &stream).await;
        let known = known.ok().filter(|known| {
            let have = &known.cached_info().config;
            // Cannot be changed; the other settings are brought up to date.
            settings.deliver_policy = have.deliver_policy;
            have.filter_subject == settings.filter_subject
                && have.ack_policy == settings.ack_policy
                && have.ack_wait == settings.ack_wait
                && have.max_ack_pending == settings.max_ack_pending
                && have.inactive_threshold == settings.inactive_threshold
        });
        let consumer = match known {
            Some(known) => known,
            None => {
                let made = context.create_consumer_on_stream(settings, stream).await;
                made.map_err(|error| chain(&error))?
            }
        };
        let hints = consumer
            .stream()
            .max_messages_per_batch(2)
            .expires(EXPIRES)
            .heartbeat(HEARTBEAT)
            .messages()
            .await;
        hints.map_err(|error| chain(&error))
    }

    async fn handle(&self, message: &Message) {
        match serde_json::from_slice::<Hint>(&message.payload) {
            Ok(hint) => {
                self.shared.counts.hints_taken.fetch_add(1, Ordering::Relaxed);
                if hint.consumer.as_ref().is_none_or(|consumer| *consumer == self.consumer) {
                    let (topic, consumer) = (&*self.topic, &*self.consumer);
                    let span =
                        tracing::info_span!(target: "tessera::span", "topic", topic, consumer);
                    let follow = AssertUnwindSafe(self.follow(hint).instrument(span));
                    let follow = follow.catch_unwind().map(|outcome| {
                        if outcome.is_err() {
                            // Hinted at again, with growing pauses. The partition goes on.
                            tracing::error!(topic, consumer, "a consumer failed within the host");
                        }
                    });
                    self.with_progress(message, follow).await;
                }
            }
            Err(error) => tracing::warn!(%error, "a hint that this version does not know"),
        }
        // Where this is lost the hint comes again, and finds nothing to do.
        if let Err(error) = message.ack().await {
            tracing::debug!(error, "a hint was not acknowledged");
        }
    }

    /// Keeps the hint ours while something is done for it.
    async fn with_progress(&self, message: &Message, work: impl Future<Output = ()>) {
        tokio::pin!(work);
        let mut ticks = interval(PROGRESS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                biased;
                () = &mut work => return,
                _ = ticks.tick() => {
                    if let Err(error) = message.ack_with(AckKind::Progress).await {
                        tracing::debug!(error, "progress was not told");
                    }
                }
            }
        }
    }

    fn target(&self, tenant: &str) -> Option<Arc<Target>> {
        lock(&self.targets).get(tenant).cloned()
    }

    /// Delivers what a hint speaks of.
    async fn follow(&self, hint: Hint) {
        let mut target = self.target(&hint.tenant);
        if target.is_none()
            && let Some(waker) = self.shared.topics.waker()
            && waker.wake(&hint.tenant).await
        {
            target = self.target(&hint.tenant);
        }
        // Another node is asked when the relay sends the hint again.
        let Some(target) = target else { return };
        let in_hand = target.in_hand.read().await;
        let mut told = Vec::new();
        let mut again_ms = now_ms();
        for _ in 0..ROUNDS {
            // It was stopped meanwhile: the rest is for whoever comes next.
            if self.target(&hint.tenant).is_none_or(|now| !Arc::ptr_eq(&now, &target)) {
                break;
            }
            match target.work.round(Some(&hint.key), Some(&mut told)).await {
                // Given up: the key goes on.
                Round::Progress | Round::Failed(None) => again_ms = now_ms(),
                Round::Empty => return,
                Round::Failed(Some(at_ms)) => {
                    again_ms = at_ms;
                    break;
                }
                Round::Pause => {
                    again_ms = now_ms().saturating_add(AWAY_MS);
                    break;
                }
            }
        }
        if let Err(error) = target.work.settle(told).await {
            // They come again.
            tracing::warn!(%error, self.topic, self.consumer, "what was done could not be settled");
        }
        target.again(hint, &self.consumer, again_ms);
        drop(in_hand);
    }
}
