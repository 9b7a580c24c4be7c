//! A tenant's database.

use std::path::Path;
use std::sync::Arc;

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

/// One tenant's database. Cheap to clone; closed when the last clone and session are gone.
#[derive(Debug, Clone)]
pub struct Database {
    _inner: Arc<()>,
}

fn pending<T>() -> Result<T, Error> {
    Err(Error::Unavailable("under construction".to_owned()))
}

impl Database {
    /// Opens or creates the database file at `path` and its directories.
    pub async fn open(
        path: &Path,
        config: DatabaseConfig,
        wake: Arc<dyn Wake>,
    ) -> Result<Self, OpenError> {
        let (_, _, _) = (path, config, wake);
        Ok(Self { _inner: Arc::new(()) })
    }

    /// Waits until everything accepted is done, then closes all connections.
    pub async fn close(self) {}

    /// Runs the migrations that are not applied yet, one transaction each, and makes the full-text
    /// indexes.
    pub async fn install(&self, schema: PluginSchema) -> Result<(), InstallError> {
        let _ = schema;
        Ok(())
    }

    /// Access for a plug-in. Cheap.
    pub fn session(&self, grant: SessionGrant) -> Session {
        Session { _grant: grant }
    }

    /// The highest position below which nothing is still to appear.
    pub fn horizon(&self) -> u64 {
        0
    }

    /// Counters for metrics.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Makes a consumer known; it gets what is emitted from now on. Repeatable.
    pub async fn register_consumer(&self, topic: &str, consumer: &str) -> Result<(), Error> {
        let _ = (topic, consumer);
        pending()
    }

    /// Forgets a consumer, its progress and its dead letters.
    pub async fn unregister_consumer(&self, topic: &str, consumer: &str) -> Result<(), Error> {
        let _ = (topic, consumer);
        pending()
    }

    /// All registered consumers.
    pub async fn consumers(&self) -> Result<Vec<Consumer>, Error> {
        pending()
    }

    /// Messages to deliver now: of each key only the first that is not settled.
    pub async fn outbox(&self, query: OutboxQuery) -> Result<Vec<Delivery>, Error> {
        let _ = query;
        pending()
    }

    /// The earliest time at which a failed message wants its next try, milliseconds since the epoch.
    pub async fn next_try(&self, topic: &str, consumer: &str) -> Result<Option<u64>, Error> {
        let _ = (topic, consumer);
        pending()
    }

    /// Settles a message outside of a commit. False: it was settled already.
    pub async fn ack(&self, consumer: &str, message: u64) -> Result<bool, Error> {
        let _ = (consumer, message);
        pending()
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
        let _ = (consumer, message, error, next_ms);
        pending()
    }

    /// Dead letters with an id above `after`, of one consumer or of all.
    pub async fn dead_letters(
        &self,
        consumer: Option<&str>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, Error> {
        let _ = (consumer, after, limit);
        pending()
    }

    /// Puts a dead letter back: it is delivered again, ahead of newer messages. False: no such one.
    pub async fn dead_retry(&self, consumer: &str, message: u64) -> Result<bool, Error> {
        let _ = (consumer, message);
        pending()
    }

    /// Removes a dead letter. False: no such one.
    pub async fn dead_drop(&self, consumer: &str, message: u64) -> Result<bool, Error> {
        let _ = (consumer, message);
        pending()
    }

    /// Sets or replaces a timer.
    pub async fn timer_set(
        &self,
        plugin: &str,
        name: &str,
        due_ms: u64,
        payload: &str,
    ) -> Result<(), Error> {
        let _ = (plugin, name, due_ms, payload);
        pending()
    }

    /// Removes a timer. False: no such one.
    pub async fn timer_cancel(&self, plugin: &str, name: &str) -> Result<bool, Error> {
        let _ = (plugin, name);
        pending()
    }

    /// Timers due at `now_ms`, the earliest first.
    pub async fn timers_due(&self, now_ms: u64, limit: u32) -> Result<Vec<Timer>, Error> {
        let _ = (now_ms, limit);
        pending()
    }

    /// When the next timer is due, milliseconds since the epoch.
    pub async fn timer_next(&self) -> Result<Option<u64>, Error> {
        pending()
    }

    /// Removes a timer that has been served, unless it was set anew meanwhile.
    pub async fn timer_finish(&self, timer: &Timer) -> Result<(), Error> {
        let _ = timer;
        pending()
    }
}
