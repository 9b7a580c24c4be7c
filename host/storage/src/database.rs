//! A tenant's database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::lock::Locks;
use crate::{
    Consumer, DatabaseConfig, DeadLetter, Delivery, Error, Head, InstallError, OpenError,
    OutboxQuery, PluginSchema, Session, SessionGrant, Timer, Usage, postgres, sqlite, transfer,
};

/// Told about commits of this process, on threads that others wait for: must return at once.
pub trait Wake: Send + Sync {
    /// A commit's wake topics, after COMMIT and when the horizon has reached its positions. On
    /// SQLite, and on PostgreSQL where no earlier position is in flight, before the committer gets
    /// its answer. `horizon` covers the commit: other processes take it by
    /// [`Database::horizon_seen`].
    fn committed(&self, topics: &[String], horizon: u64);

    /// Topics into which a commit has put messages, or whose messages have become deliverable.
    /// Told when the messages can be read.
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
    engine: Engine,
    locks: Arc<Locks>,
}

#[derive(Clone)]
enum Engine {
    Sqlite(Arc<sqlite::Engine>),
    Postgres(Arc<postgres::Engine>),
}

/// Does the same on either engine.
macro_rules! on {
    ($database:expr, $engine:ident => $do:expr) => {
        match &$database.engine {
            Engine::Sqlite($engine) => $do,
            Engine::Postgres($engine) => $do,
        }
    };
}

/// Milliseconds of a time to live, at least 1.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 40)
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
        let engine = Arc::new(sqlite::Engine::open(path, config, wake).await?);
        Ok(Self { engine: Engine::Sqlite(engine), locks })
    }

    /// A tenant on PostgreSQL, made by [`crate::Postgres::open`].
    pub(crate) fn on_postgres(engine: postgres::Engine, locks: usize) -> Self {
        let locks = Arc::new(Locks::new(locks));
        Self { engine: Engine::Postgres(Arc::new(engine)), locks }
    }

    /// Waits until everything accepted is done and all connections are closed. Other clones and
    /// sessions are answered [`Error::Unavailable`] from then on.
    pub async fn close(self) {
        on!(self, engine => engine.close().await);
    }

    /// Runs the migrations that are not applied yet, one transaction each, and makes the full-text
    /// indexes.
    pub async fn install(&self, schema: PluginSchema) -> Result<(), InstallError> {
        on!(self, engine => engine.install(schema).await)
    }

    /// Access for a plug-in. Cheap.
    pub fn session(&self, grant: SessionGrant) -> Session {
        let locks = self.locks.clone();
        match &self.engine {
            Engine::Sqlite(engine) => {
                Session::on_sqlite(sqlite::EngineSession::new(engine.clone(), grant), locks)
            }
            Engine::Postgres(engine) => {
                Session::on_postgres(postgres::EngineSession::new(engine.clone(), grant), locks)
            }
        }
    }

    /// The highest position below which nothing is still to appear.
    pub fn horizon(&self) -> u64 {
        on!(self, engine => engine.horizon())
    }

    /// Another process has told that the horizon is at least this: spares a look.
    pub fn horizon_seen(&self, horizon: u64) {
        if let Engine::Postgres(engine) = &self.engine {
            engine.horizon_seen(horizon);
        }
    }

    /// Takes a lease, or renews one that `holder` has. False: another has it. It ends `ttl` after
    /// the last call, by the database's clock.
    pub async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<bool, Error> {
        on!(self, engine => engine.lease_taken(name, holder, millis(ttl)).await)
    }

    /// Gives a lease back, if `holder` has it.
    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<(), Error> {
        on!(self, engine => engine.release_lease(name, holder).await)
    }

    /// What is stored. Looks at every table on SQLite: not for every request.
    pub async fn usage(&self) -> Result<Usage, Error> {
        on!(self, engine => engine.usage().await)
    }

    /// Sends all there is, as of one moment.
    pub(crate) fn dump(&self, to: transfer::Sender) {
        on!(self, engine => engine.dump(to));
    }

    /// Takes in what comes, into an empty tenant, in one transaction.
    pub(crate) async fn load(
        &self,
        from: transfer::Receiver,
        watch: transfer::Watch,
    ) -> Result<transfer::Transferred, transfer::TransferError> {
        on!(self, engine => engine.load(from, watch).await)
    }

    /// Counters for metrics.
    pub fn stats(&self) -> Stats {
        on!(self, engine => engine.stats())
    }

    /// Makes a consumer known; it gets what is emitted from now on. Repeatable.
    pub async fn register_consumer(&self, topic: &str, consumer: &str) -> Result<(), Error> {
        on!(self, engine => engine.register(topic, consumer).await)
    }

    /// Forgets a consumer, its progress and its dead letters.
    pub async fn unregister_consumer(&self, topic: &str, consumer: &str) -> Result<(), Error> {
        on!(self, engine => engine.unregister(topic, consumer).await)
    }

    /// All registered consumers.
    pub async fn consumers(&self) -> Result<Vec<Consumer>, Error> {
        on!(self, engine => engine.consumers().await)
    }

    /// Messages to deliver now: of each key only the first that is not settled.
    pub async fn outbox(&self, query: OutboxQuery) -> Result<Vec<Delivery>, Error> {
        on!(self, engine => engine.outbox(query).await)
    }

    /// Of each consumer and key the first message that can be delivered at `now_ms` (milliseconds
    /// since the epoch) and was emitted at least `older_than_ms` before; of one topic or of all,
    /// the oldest first. `limit` is for each consumer. For relays: what may have been missed.
    pub async fn outbox_heads(
        &self,
        topic: Option<&str>,
        now_ms: u64,
        older_than_ms: u64,
        limit: u32,
    ) -> Result<Vec<Head>, Error> {
        on!(self, engine => engine.heads(topic, now_ms, older_than_ms, limit).await)
    }

    /// The earliest time at which a failed message wants its next try, milliseconds since the epoch.
    pub async fn next_try(&self, topic: &str, consumer: &str) -> Result<Option<u64>, Error> {
        on!(self, engine => engine.next_try(topic, consumer).await)
    }

    /// Settles a message outside of a commit. False: it was settled already.
    pub async fn ack(&self, consumer: &str, message: u64) -> Result<bool, Error> {
        on!(self, engine => engine.ack(consumer, message).await)
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
        on!(self, engine => engine.fail(consumer, message, error, next_ms).await)
    }

    /// Dead letters with an id above `after`, of one consumer or of all.
    pub async fn dead_letters(
        &self,
        consumer: Option<&str>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, Error> {
        on!(self, engine => engine.dead_letters(consumer, after, limit).await)
    }

    /// Puts a dead letter back: it is delivered again, ahead of newer messages. False: no such one.
    pub async fn dead_retry(&self, consumer: &str, message: u64) -> Result<bool, Error> {
        on!(self, engine => engine.dead_retry(consumer, message).await)
    }

    /// Removes a dead letter. False: no such one.
    pub async fn dead_drop(&self, consumer: &str, message: u64) -> Result<bool, Error> {
        on!(self, engine => engine.dead_drop(consumer, message).await)
    }

    /// Sets or replaces a timer.
    pub async fn timer_set(
        &self,
        plugin: &str,
        name: &str,
        due_ms: u64,
        payload: &str,
    ) -> Result<(), Error> {
        on!(self, engine => engine.timer_set(plugin, name, due_ms, payload).await)
    }

    /// Removes a timer. False: no such one.
    pub async fn timer_cancel(&self, plugin: &str, name: &str) -> Result<bool, Error> {
        on!(self, engine => engine.timer_cancel(plugin, name).await)
    }

    /// Timers due at `now_ms`, the earliest first.
    pub async fn timers_due(&self, now_ms: u64, limit: u32) -> Result<Vec<Timer>, Error> {
        on!(self, engine => engine.timers_due(now_ms, limit, limit).await)
    }

    /// Timers due at `now_ms`, at most `each` of one plug-in, so that none hides those of others.
    pub async fn timers_due_fairly(
        &self,
        now_ms: u64,
        limit: u32,
        each: u32,
    ) -> Result<Vec<Timer>, Error> {
        on!(self, engine => engine.timers_due(now_ms, limit, each).await)
    }

    /// Timers due at `now_ms` that no one has claimed, at most `each` of one plug-in, claimed for
    /// `ttl`: nobody else gets them by this function within it. What sets or postpones a timer ends
    /// the claim.
    pub async fn timers_claim(
        &self,
        now_ms: u64,
        limit: u32,
        each: u32,
        ttl: Duration,
    ) -> Result<Vec<Timer>, Error> {
        on!(self, engine => engine.timers_claim(now_ms, limit, each, millis(ttl)).await)
    }

    /// When the first timer is due that is not due at `now_ms`.
    pub async fn timer_after(&self, now_ms: u64) -> Result<Option<u64>, Error> {
        on!(self, engine => engine.timer_after(now_ms).await)
    }

    /// Moves a timer that failed to a later time, unless it was set anew.
    pub async fn timer_postpone(&self, timer: &Timer, due_ms: u64) -> Result<(), Error> {
        on!(self, engine => engine.timer_postpone(timer, due_ms).await)
    }

    /// When the next timer is due, milliseconds since the epoch.
    pub async fn timer_next(&self) -> Result<Option<u64>, Error> {
        on!(self, engine => engine.timer_next().await)
    }

    /// Removes a timer that has been served, unless it was set anew meanwhile.
    pub async fn timer_finish(&self, timer: &Timer) -> Result<(), Error> {
        on!(self, engine => engine.timer_finish(timer).await)
    }
}
