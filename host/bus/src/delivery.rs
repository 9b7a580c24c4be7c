//! Durable topics: from the outbox to a consumer.
//!
//! One task for each (consumer, topic) of a tenant. It is woken by commits that emit, hands over batches in order
//! of each key, and settles what was done. A message is delivered at least once; a consumer that commits
//! with `done` has the effect once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::try_join_all;
use tessera_storage::{Database, Delivery, Error, OutboxQuery};
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
struct Counters {
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
        let counters = Arc::new(Counters::default());
        let (stop, stopped) = watch::channel(false);
        let task = Task {
            bus,
            tenant: tenant.into(),
            database,
            config: config.clone(),
            consumer,
            counters: Arc::clone(&counters),
            stopped,
        };
        Ok(Self { config, counters, stop, task: tokio::spawn(task.run()) })
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
    database: Database,
    config: DeliveryConfig,
    consumer: Arc<dyn Consumer>,
    counters: Arc<Counters>,
    stopped: watch::Receiver<bool>,
}

/// Why a round handed nothing over, or that it did.
enum Round {
    /// Something was settled: look again at once.
    Progress,
    /// Nothing to do until woken, or until this time at the latest.
    Idle(Instant),
    /// The database or the consumer is not there: wait this long whatever happens.
    Pause,
}

impl Task {
    async fn run(mut self) {
        let mut pause = self.config.retry_first;
        loop {
            // An error means that the handle is gone, which stops the task as well.
            if *self.stopped.borrow() || self.stopped.has_changed().is_err() {
                return;
            }
            // Taken before the look, so that no commit falls between.
            let watch = match self.bus.watch(&self.tenant, &[outbox_topic(&self.config.topic)]) {
                Ok(watch) => Some(watch),
                Err(error) => {
                    tracing::warn!(%error, topic = self.config.topic, "delivery polls");
                    None
                }
            };
            let until = match self.round().await {
                Round::Progress => {
                    pause = self.config.retry_first;
                    continue;
                }
                Round::Idle(until) => until,
                Round::Pause => {
                    let until = Instant::now() + pause;
                    pause = pause.saturating_mul(2).min(self.config.retry_max);
                    tokio::select! {
                        () = sleep_until(until) => {}
                        _ = self.stopped.changed() => {}
                    }
                    continue;
                }
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

    async fn round(&self) -> Round {
        let batch = match self.look().await {
            Ok(batch) => batch,
            Err(error) => return self.database_failed("read outbox", &error),
        };
        let Some(oldest) = batch.iter().map(|message| message.emitted_ms).min() else {
            self.counters.lag_ms.store(0, Ordering::Relaxed);
            return match self.next_look().await {
                Ok(until) => Round::Idle(until),
                Err(error) => self.database_failed("read next try", &error),
            };
        };
        self.counters.lag_ms.store(now_ms().saturating_sub(oldest), Ordering::Relaxed);

        let heads: Vec<(u64, u32)> =
            batch.iter().map(|message| (message.id, message.attempts)).collect();
        let outcome = self.consumer.consume(batch).await;
        let done = match &outcome {
            Ok(done) => usize::try_from(*done).unwrap_or(usize::MAX).min(heads.len()),
            Err(_) => 0,
        };
        // False where the consumer's own commit has settled it: that is the usual case. Together, so that they
        // share a transaction.
        let acks = heads.iter().take(done);
        let acks = acks.map(|(id, _)| self.database.ack(&self.config.consumer, *id));
        if let Err(error) = try_join_all(acks).await {
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
            Ok(()) => Round::Progress,
            Err(error) => self.database_failed("record failure", &error),
        }
    }

    async fn look(&self) -> Result<Vec<Delivery>, Error> {
        let query = OutboxQuery {
            topic: self.config.topic.clone(),
            consumer: self.config.consumer.clone(),
            in_flight: Vec::new(),
            now_ms: now_ms(),
            limit: self.config.batch.max(1),
        };
        self.database.outbox(query).await
    }

    async fn next_look(&self) -> Result<Instant, Error> {
        let next = self.database.next_try(&self.config.topic, &self.config.consumer).await?;
        let wait = next.map_or(LOOK_ANYWAY, |at| {
            // One more millisecond, so that the clock has passed it for certain.
            Duration::from_millis(at.saturating_sub(now_ms()).saturating_add(1)).min(LOOK_ANYWAY)
        });
        Ok(Instant::now() + wait)
    }

    async fn failed(&self, id: u64, attempts_before: u32, error: &str) -> Result<(), Error> {
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
            return Ok(());
        }
        counters.failed.fetch_add(1, Ordering::Relaxed);
        if dead {
            counters.dead.fetch_add(1, Ordering::Relaxed);
            tracing::error!(config.topic, config.consumer, id, attempts, error, "message is dead");
        } else {
            tracing::warn!(config.topic, config.consumer, id, attempts, error, "message failed");
        }
        Ok(())
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

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
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
