//! Durable topics: from the outbox to a consumer.
//!
//! One task for each (consumer, topic) of a tenant. It is woken by commits that emit, hands over batches in order
//! of each key, and settles what was done. A message is delivered at least once; a consumer that commits
//! with `done` has the effect once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use tessera_storage::{Database, Delivery, Error, OutboxQuery, now_ms};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::wake::outbox_topic;
use crate::wakeups::Bus;

/// Looks into the outbox even if nothing woke the task: wake-ups are best effort.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);

/// A boxed future, so that [`Consumer`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who gets the messages of a topic.
pub trait Consumer: Send + Sync + 'static {
    /// Handles messages in order. Called by one task at a time; may wait as long as it needs.
    /// `Ok(n)`: the first n are done.
    fn consume(&self, batch: Vec<Delivery>) -> BoxFuture<'_, Result<u32, ConsumeError>>;
}

/// Why a batch was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// The first message failed. It is tried again with backoff, at last it becomes a dead letter.
    #[error("{0}")]
    Failed(String),
    /// The consumer cannot be reached (not running, overloaded). Nothing is counted against the message.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// What is delivered to whom, and how often.
#[derive(Debug, Clone)]
pub struct DeliveryConfig {
    /// The topic.
    pub topic: String,
    /// The consuming plug-in.
    pub consumer: String,
    /// Messages handed over at once, at most.
    pub batch: u32,
    /// Tries before a message becomes a dead letter.
    pub max_attempts: u32,
    /// Wait after the first failure; it doubles with each further one.
    pub retry_first: Duration,
    /// The longest wait.
    pub retry_max: Duration,
}

/// Counters of one delivery since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryStats {
    /// Messages done.
    pub done: u64,
    /// Failed attempts.
    pub failed: u64,
    /// Messages given up on.
    pub dead: u64,
    /// How old the oldest message of the last batch was when it was handed over, in milliseconds; 0 once
    /// the outbox was found empty.
    pub lag_ms: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    done: AtomicU64,
    failed: AtomicU64,
    dead: AtomicU64,
    lag_ms: AtomicU64,
}

/// A running delivery. Dropping it stops the task as [`Deliverer::stop`] does, without waiting.
pub struct Deliverer {
    config: DeliveryConfig,
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Deliverer {
    /// Registers the consumer and starts to deliver.
    ///
    /// # Errors
    /// The consumer cannot be registered in the database.
    pub async fn start(
        bus: Bus,
        tenant: impl Into<Arc<str>>,
        database: Database,
        config: DeliveryConfig,
        consumer: Arc<dyn Consumer>,
    ) -> Result<Self, Error> {
        database.register_consumer(&config.topic, &config.consumer).await?;
        let work = Work::new(database, config.clone(), consumer);
        let counters = work.counters();
        let (stop, stopped) = watch::channel(false);
        let task = Task { bus, tenant: tenant.into(), work, stopped };
        Ok(Self::with(config, counters, stop, tokio::spawn(task.run())))
    }

    /// A delivery whose task ends when `stop` becomes true or is gone.
    pub(crate) fn with(
        config: DeliveryConfig,
        counters: Arc<Counters>,
        stop: watch::Sender<bool>,
        task: JoinHandle<()>,
    ) -> Self {
        Self { config, counters, stop, task }
    }

    /// What is delivered to whom.
    pub fn config(&self) -> &DeliveryConfig {
        &self.config
    }

    /// Counters for metrics.
    pub fn stats(&self) -> DeliveryStats {
        DeliveryStats {
            done: self.counters.done.load(Ordering::Relaxed),
            failed: self.counters.failed.load(Ordering::Relaxed),
            dead: self.counters.dead.load(Ordering::Relaxed),
            lag_ms: self.counters.lag_ms.load(Ordering::Relaxed),
        }
    }

    /// Lets the batch in hand end and stops. What is not settled is delivered after the next start.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "delivery task failed");
        }
    }
}

struct Task {
    bus: Bus,
    tenant: Arc<str>,
    work: Work,
    stopped: watch::Receiver<bool>,
}

/// Hands messages of one topic to one consumer and settles them in the database.
pub(crate) struct Work {
    database: Database,
    config: DeliveryConfig,
    consumer: Arc<dyn Consumer>,
    counters: Arc<Counters>,
}

/// What a round found and did.
pub(crate) enum Round {
    /// Something was settled: look again at once.
    Progress,
    /// A message failed; its next try is due at this time (milliseconds since the epoch), or it was given up.
    Failed(Option<u64>),
    /// There is nothing to deliver now.
    Empty,
    /// The database or the consumer is not there: wait whatever happens.
    Pause,
}

impl Task {
    async fn run(mut self) {
        let config = self.work.config.clone();
        let mut pause = config.retry_first;
        loop {
            // An error means that the handle is gone, which stops the task as well.
            if *self.stopped.borrow() || self.stopped.has_changed().is_err() {
                return;
            }
            // Taken before the look, so that no commit falls between.
            let watch = match self.bus.watch(&self.tenant, &[outbox_topic(&config.topic)]) {
                Ok(watch) => Some(watch),
                Err(error) => {
                    tracing::warn!(%error, topic = config.topic, "delivery polls");
                    None
                }
            };
            let until = match self.work.round(None, None).await {
                Round::Progress | Round::Failed(_) => {
                    pause = config.retry_first;
                    continue;
                }
                Round::Empty => self.work.next_look().await,
                Round::Pause => None,
            };
            let Some(until) = until else {
                let until = Instant::now() + pause;
                pause = pause.saturating_mul(2).min(config.retry_max);
                tokio::select! {
                    () = sleep_until(until) => {}
                    _ = self.stopped.changed() => {}
                }
                continue;
            };
            let woken = async {
                match &watch {
                    Some(watch) => watch.fired().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = woken => {}
                () = sleep_until(until) => {}
                _ = self.stopped.changed() => {}
            }
        }
    }
}

impl Work {
    pub(crate) fn new(
        database: Database,
        config: DeliveryConfig,
        consumer: Arc<dyn Consumer>,
    ) -> Self {
        Self { database, config, consumer, counters: Arc::default() }
    }

    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Hands over what can be delivered now, of one key or of all, and settles what was done.
    ///
    /// With `told` it leaves that to the consumer's own commits, as is usual, and notes what was done there: whatever
    /// of it comes again was not settled, and is settled then. The caller settles the rest ([`Work::settle`]) unless
    /// a round was empty.
    pub(crate) async fn round(&self, key: Option<&str>, mut told: Option<&mut Vec<u64>>) -> Round {
        let mut batch = match self.look(key).await {
            Ok(batch) => batch,
            Err(error) => return self.database_failed("read outbox", &error),
        };
        if let Some(told) = &told {
            let (again, new): (Vec<_>, Vec<_>) =
                batch.into_iter().partition(|message| told.contains(&message.id));
            if !again.is_empty() {
                return match self.settle(again.iter().map(|message| message.id)).await {
                    Ok(()) => Round::Progress,
                    Err(error) => self.database_failed("settle messages", &error),
                };
            }
            batch = new;
        }
        let Some(oldest) = batch.iter().map(|message| message.emitted_ms).min() else {
            self.counters.lag_ms.store(0, Ordering::Relaxed);
            return Round::Empty;
        };
        self.counters.lag_ms.store(now_ms().saturating_sub(oldest), Ordering::Relaxed);

        let heads: Vec<(u64, u32)> =
            batch.iter().map(|message| (message.id, message.attempts)).collect();
        let outcome = self.consumer.consume(batch).await;
        let done = match &outcome {
            Ok(done) => usize::try_from(*done).unwrap_or(usize::MAX).min(heads.len()),
            Err(_) => 0,
        };
        let ids = heads.iter().take(done).map(|(id, _)| *id);
        if let Some(told) = &mut told {
            told.extend(ids);
        } else if let Err(error) = self.settle(ids).await {
            return self.database_failed("settle messages", &error);
        }
        self.counters.done.fetch_add(done as u64, Ordering::Relaxed);
        let error = match outcome {
            Ok(_) if done > 0 => return Round::Progress,
            Ok(_) => "the consumer did none of the batch and gave no error".to_owned(),
            Err(ConsumeError::Failed(text)) => text,
            Err(ConsumeError::Unavailable(reason)) => {
                let Self { config, .. } = self;
                tracing::warn!(config.topic, config.consumer, reason, "consumer unavailable");
                return Round::Pause;
            }
        };
        let Some((id, attempts)) = heads.get(done) else { return Round::Progress };
        match self.failed(*id, *attempts, &error).await {
            Ok(next_ms) => Round::Failed(next_ms),
            Err(error) => self.database_failed("record failure", &error),
        }
    }

    /// Settles messages. Nothing changes where the consumer's own commits have: that is the usual case. Together, so that
    /// they share a transaction.
    pub(crate) async fn settle(&self, ids: impl IntoIterator<Item = u64>) -> Result<(), Error> {
        let acks = ids.into_iter().map(|id| self.database.ack(&self.config.consumer, id));
        try_join_all(acks).await.map(drop)
    }

    async fn look(&self, key: Option<&str>) -> Result<Vec<Delivery>, Error> {
        let query = OutboxQuery {
            topic: self.config.topic.clone(),
            consumer: self.config.consumer.clone(),
            key: key.map(str::to_owned),
            now_ms: now_ms(),
            limit: self.config.batch.max(1),
            ..OutboxQuery::default()
        };
        self.database.outbox(query).await
    }

    /// When to look again after an empty round; `None`: the database does not say.
    async fn next_look(&self) -> Option<Instant> {
        match self.database.next_try(&self.config.topic, &self.config.consumer).await {
            Ok(next) => Some(Instant::now() + next.map_or(LOOK_ANYWAY, until_ms).min(LOOK_ANYWAY)),
            Err(error) => {
                self.database_failed("read next try", &error);
                None
            }
        }
    }

    async fn failed(
        &self,
        id: u64,
        attempts_before: u32,
        error: &str,
    ) -> Result<Option<u64>, Error> {
        let Self { config, counters, .. } = self;
        let attempts = attempts_before.saturating_add(1);
        let dead = attempts >= config.max_attempts;
        let next_ms = (!dead).then(|| {
            let wait = backoff(config.retry_first, config.retry_max, attempts);
            now_ms().saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
        });
        let counted = self.database.fail(&config.consumer, id, error, next_ms).await?;
        if counted == 0 {
            // Its own commit had settled it before it failed: the effect has happened.
            counters.done.fetch_add(1, Ordering::Relaxed);
            return Ok(None);
        }
        counters.failed.fetch_add(1, Ordering::Relaxed);
        if dead {
            counters.dead.fetch_add(1, Ordering::Relaxed);
            tracing::error!(config.topic, config.consumer, id, attempts, error, "message is dead");
        } else {
            tracing::warn!(config.topic, config.consumer, id, attempts, error, "message failed");
        }
        Ok(next_ms)
    }

    fn database_failed(&self, doing: &str, error: &Error) -> Round {
        let Self { config, .. } = self;
        tracing::warn!(config.topic, config.consumer, doing, %error, "delivery waits for the database");
        Round::Pause
    }
}

/// Wait after so many failures: the first wait, doubled each time, up to the longest.
fn backoff(first: Duration, longest: Duration, failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures.saturating_sub(1).min(31));
    first.saturating_mul(factor).min(longest)
}

/// From now until a time in milliseconds since the epoch; one more millisecond, so that the clock has passed it for
/// certain.
pub(crate) fn until_ms(at: u64) -> Duration {
    Duration::from_millis(at.saturating_sub(now_ms()).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::backoff;

    #[test]
    fn backoff_doubles_up_to_its_cap() {
        let waits = [1, 2, 3, 4, 5, 40].map(|failures| {
            backoff(Duration::from_secs(1), Duration::from_secs(10), failures).as_secs()
        });
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    }
}
