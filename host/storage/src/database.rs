//! A tenant's database.

use std::path::Path;
use std::sync::Arc;

use crate::lock::Locks;
use crate::sqlite::{Engine, EngineSession};
use crate::{
    Consumer, DatabaseConfig, DeadLetter, Delivery, Error, InstallError, OpenError, OutboxQuery,
    PluginSchema, Session, SessionGrant, Timer,
};

/// Told about commits, on the writer's thread: must return at once.
pub trait Wake: Send + Sync {
    /// A commit's wake topics, after COMMIT and when the horizon has reached its positions, before
    /// the committer gets its answer.
    fn committed(&self, topics: &[String], horizon: u64);

    /// Topics into which a commit has put messages, or whose messages have become deliverable.
    fn emitted(&self, topics: &[String]) {
        let _ = topics;
    }
}

/// Counters since opening, and gauges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Commits waiting for the writer (gauge).
    pub write_queue: u64,
    /// Reads waiting for a reader (gauge).
    pub read_queue: u64,
    /// Transactions of the writer.
    pub groups: u64,
    /// Members of these transactions; divided by `groups`: the mean group size.
    pub group_members: u64,
    /// Commits that succeeded.
    pub commits: u64,
    /// Commits that failed by a guard.
    pub conflicts: u64,
    /// Other failures of the writer.
    pub failures: u64,
    /// Queries and snapshots.
    pub reads: u64,
    /// Rows given out.
    pub rows: u64,
    /// Bytes given out.
    pub bytes: u64,
    /// Microseconds from queueing a commit to its answer, summed.
    pub commit_micros: u64,
    /// Microseconds spent in COMMIT itself, summed.
    pub sync_micros: u64,
    /// Commits by latency: up to 1, 2, 5, 10, 20, 50, 100, 200, 500 ms, and above.
    pub commit_latency: [u64; 10],
}

/// One tenant's database. Cheap to clone; closed by [`Database::close`], or when the
/// last clone and session are gone.
#[derive(Clone)]
pub struct Database {
    engine: Arc<Engine>,
    locks: Arc<Locks>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("horizon", &self.horizon()).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens or creates the database file at `path` and its directories.
    pub async fn open(
        path: &Path,
        config: DatabaseConfig,
        wake: Arc<dyn Wake>,
    ) -> Result<Self, OpenError> {
        let locks = Arc::new(Locks::new(config.locks));
        let engine = Arc::new(Engine::open(path, config, wake).await?);
        Ok(Self { engine, locks })
    }

    /// Waits until everything accepted is done and all connections are closed. Other clones and
    /// sessions are answered [`Error::Unavailable`] from then on.
    pub async fn close(self) {
        self.engine.close().await;
    }

    /// Runs the migrations that are not applied yet, one transaction each, and makes the full-text
    /// indexes.
    pub async fn install(&self, schema: PluginSchema) -> Result<(), InstallError> {
        self.engine.install(schema).await
    }

    /// Access for a plug-in. Cheap.
    pub fn session(&self, grant: SessionGrant) -> Session {
        let engine = EngineSession::new(self.engine.clone(), grant);
        Session { engine, locks: self.locks.clone() }
    }

    /// The highest position below which nothing is still to appear.
    pub fn horizon(&self) -> u64 {
        self.engine.horizon()
    }

    /// Counters for metrics.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Makes a consumer known; it gets what is emitted from now on. Repeatable.
    pub async fn register_consumer(&self, topic: &str, consumer: &str) -> Result<(), Error> {
        self.engine.register(topic, consumer).await
    }

    /// Forgets a consumer, its progress and its dead letters.
    pub async fn unregister_consumer(&self, topic: &str, consumer: &str) -> Result<(), Error> {
        self.engine.unregister(topic, consumer).await
    }

    /// All registered consumers.
    pub async fn consumers(&self) -> Result<Vec<Consumer>, Error> {
        self.engine.consumers().await
    }

    /// Messages to deliver now: of each key only the first that is not settled.
    pub async fn outbox(&self, query: OutboxQuery) -> Result<Vec<Delivery>, Error> {
        self.engine.outbox(query).await
    }

    /// The earliest time at which a failed message wants its next try, milliseconds since the epoch.
    pub async fn next_try(&self, topic: &str, consumer: &str) -> Result<Option<u64>, Error> {
        self.engine.next_try(topic, consumer).await
    }

    /// Settles a message outside of a commit. False: it was settled already.
    pub async fn ack(&self, consumer: &str, message: u64) -> Result<bool, Error> {
        self.engine.ack(consumer, message).await
    }

    /// Records a failed attempt: with a time for the next one, or `None` to give up. Gives the
    /// number of failed attempts.
    pub async fn fail(
        &self,
        consumer: &str,
        message: u64,
        error: &str,
        next_ms: Option<u64>,
    ) -> Result<u32, Error> {
        self.engine.fail(consumer, message, error, next_ms).await
    }

    /// Dead letters with an id above `after`, of one consumer or of all.
    pub async fn dead_letters(
        &self,
        consumer: Option<&str>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, Error> {
        self.engine.dead_letters(consumer, after, limit).await
    }

    /// Puts a dead letter back: it is delivered again, ahead of newer messages. False: no such one.
    pub async fn dead_retry(&self, consumer: &str, message: u64) -> Result<bool, Error> {
        self.engine.dead_retry(consumer, message).await
    }

    /// Removes a dead letter. False: no such one.
    pub async fn dead_drop(&self, consumer: &str, message: u64) -> Result<bool, Error> {
        self.engine.dead_drop(consumer, message).await
    }

    /// Sets or replaces a timer.
    pub async fn timer_set(
        &self,
        plugin: &str,
        name: &str,
        due_ms: u64,
        payload: &str,
    ) -> Result<(), Error> {
        self.engine.timer_set(plugin, name, due_ms, payload).await
    }

    /// Removes a timer. False: no such one.
    pub async fn timer_cancel(&self, plugin: &str, name: &str) -> Result<bool, Error> {
        self.engine.timer_cancel(plugin, name).await
    }

    /// Timers due at `now_ms`, the earliest first.
    pub async fn timers_due(&self, now_ms: u64, limit: u32) -> Result<Vec<Timer>, Error> {
        self.engine.timers_due(now_ms, limit, limit).await
    }

    /// Timers due at `now_ms`, at most `each` of one plug-in, so that none hides those of others.
    pub async fn timers_due_fairly(
        &self,
        now_ms: u64,
        limit: u32,
        each: u32,
    ) -> Result<Vec<Timer>, Error> {
        self.engine.timers_due(now_ms, limit, each).await
    }

    /// When the first timer is due that is not due at `now_ms`.
    pub async fn timer_after(&self, now_ms: u64) -> Result<Option<u64>, Error> {
        self.engine.timer_after(now_ms).await
    }

    /// Moves a timer that failed to a later time, unless it was set anew.
    pub async fn timer_postpone(&self, timer: &Timer, due_ms: u64) -> Result<(), Error> {
        self.engine.timer_postpone(timer, due_ms).await
    }

    /// When the next timer is due, milliseconds since the epoch.
    pub async fn timer_next(&self) -> Result<Option<u64>, Error> {
        self.engine.timer_next().await
    }

    /// Removes a timer that has been served, unless it was set anew meanwhile.
    pub async fn timer_finish(&self, timer: &Timer) -> Result<(), Error> {
        self.engine.timer_finish(timer).await
    }
}
