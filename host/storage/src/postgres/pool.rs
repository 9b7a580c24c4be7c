//! The connections of one process, shared by all tenants.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{ConnectOptions, Either, Executor, Row, ValueRef};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Error, OpenError};

use super::code::SqlError;
use super::script::{Script, Step};
use super::{PostgresConfig, PostgresStats};

/// A connection that lay idle so long is tried before it is used.
const STALE: Duration = Duration::from_secs(10);

/// How long nobody tries to connect after that failed; doubled with each failure.
const BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// How long an answer may take: longer than the server's own limit of time, so that it only ends what a server that
/// is gone without a word would never answer.
const PATIENCE: Duration = Duration::from_secs(65);
/// How long the trial of an idle connection may take.
const TRIAL: Duration = Duration::from_secs(5);

/// A connection and what it has prepared.
pub(super) struct Conn {
    pg: PgConnection,
    /// Statements by id, and when each was last used, as a count of uses.
    prepared: HashMap<u64, u64>,
    uses: u64,
    /// The server's start and the time since it last crashed, as it names them.
    pub(super) epoch: Arc<str>,
    /// Its name, which no other connection has (letters, digits and dashes), and how many commits were begun on it.
    name: Arc<str>,
    commits: u64,
    idle_since: Instant,
}

#[derive(Default)]
struct Counters {
    connections: AtomicUsize,
    waiting: AtomicUsize,
    connected: AtomicU64,
    failed: AtomicU64,
    round_trips: AtomicU64,
}

/// When connecting may be tried again.
struct Backoff {
    until: Option<Instant>,
    next: Duration,
}

/// The connections.
pub(super) struct Pool {
    options: PgConnectOptions,
    pub(super) config: PostgresConfig,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Conn>>,
    backoff: Mutex<Backoff>,
    counters: Counters,
}

/// A connection in use. What was not carried to its end closes it.
pub(super) struct Leased {
    conn: Option<Conn>,
    pool: Arc<Pool>,
    clean: bool,
    /// Inside a transaction that was begun by hand: who drops it here gives it up.
    pub(super) in_transaction: bool,
    /// How long each answer may take; the connection counts as lost after that.
    pub(super) patience: Duration,
    _permit: OwnedSemaphorePermit,
}

/// A row of a result.
pub(super) struct Line<'a>(&'a PgRow);

impl Line<'_> {
    /// The text of a column; `None` for NULL.
    pub(super) fn bytes(&self, column: usize) -> Result<Option<&[u8]>, Error> {
        let raw = self.0.try_get_raw(column).map_err(|e| Error::Invalid(e.to_string()))?;
        if raw.is_null() {
            return Ok(None);
        }
        raw.as_bytes().map(Some).map_err(|e| Error::Invalid(e.to_string()))
    }

    /// How many columns there are.
    pub(super) fn width(&self) -> usize {
        self.0.len()
    }
}

/// Why a script ended early, and at which of its steps.
pub(super) struct Stop {
    pub(super) step: usize,
    pub(super) why: Why,
}

/// The server's reason or ours.
pub(super) enum Why {
    Sql(SqlError),
    Ours(Error),
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Self {
        match stop.why {
            Why::Sql(error) => error.into(),
            Why::Ours(error) => error,
        }
    }
}

impl Stop {
    pub(super) fn sql(&self) -> Option<&SqlError> {
        match &self.why {
            Why::Sql(error) => Some(error),
            Why::Ours(_) => None,
        }
    }

    /// The connection was lost, rather than the statement refused.
    pub(super) fn lost(&self) -> bool {
        self.sql().is_some_and(|e| e.broken)
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    pub(super) fn new(config: PostgresConfig) -> Result<Self, OpenError> {
        let engine = |message: String| OpenError::Engine { path: "PostgreSQL".to_owned(), message };
        let options = PgConnectOptions::from_str(&config.url)
            .map_err(|e| engine(format!("the address: {e}")))?
            .application_name("tessera")
            // Ours are prepared by name; these are only what columns and parameters are looked up with.
            .statement_cache_capacity(16)
            .options([
                ("search_path", "pg_catalog"),
                ("standard_conforming_strings", "on"),
                ("default_transaction_isolation", "read committed"),
                ("client_min_messages", "error"),
                ("jit", "off"),
                // The host's own statements; those of plug-ins say their own.
                ("statement_timeout", "60s"),
                // A process that stops amid a commit must not hold up the others.
                ("idle_in_transaction_session_timeout", "5s"),
                // A process that is gone must not leave a long statement behind.
                ("client_connection_check_interval", "2s"),
            ])
            .disable_statement_logging();
        let permits = Arc::new(Semaphore::new(config.connections.max(2)));
        let backoff = Mutex::new(Backoff { until: None, next: BACKOFF });
        let (idle, counters) = (Mutex::default(), Counters::default());
        Ok(Self { options, config, permits, idle, backoff, counters })
    }

    pub(super) fn database(&self) -> String {
        let host = self.options.get_host();
        let name = self.options.get_database().unwrap_or_else(|| self.options.get_username());
        format!("{host}:{}/{name}", self.options.get_port())
    }

    pub(super) fn stats(&self) -> PostgresStats {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).len();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PostgresStats {
            connections: self.counters.connections.load(Ordering::Relaxed) as u64,
            idle: idle as u64,
            waiting: self.counters.waiting.load(Ordering::Relaxed) as u64,
            connected: get(&self.counters.connected),
            failed: get(&self.counters.failed),
            round_trips: get(&self.counters.round_trips),
        }
    }

    fn pop(&self) -> Option<Conn> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Forgets all idle connections: the server went away, and they with it.
    fn forget_idle(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        self.counters.connections.fetch_sub(idle.len(), Ordering::Relaxed);
    }

    /// Waits for a connection: the one that was used last, or a new one.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Leased, Error> {
        let waiting = self.counters.waiting.fetch_add(1, Ordering::Relaxed);
        let guard = Waiting(&self.counters.waiting);
        if waiting >= self.config.queue {
            return Err(Error::Busy);
        }
        let wait = tokio::time::timeout(
            self.config.connect_timeout,
            Arc::clone(&self.permits).acquire_owned(),
        );
        let permit = match wait.await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(crate::fence::gone()),
            Err(_) => return Err(Error::Busy),
        };
        let mut leased = Leased {
            conn: None,
            pool: self.clone(),
            clean: true,
            in_transaction: false,
            patience: PATIENCE,
            _permit: permit,
        };
        while let Some(conn) = self.pop() {
            let stale = conn.idle_since.elapsed() > STALE;
            leased.conn = Some(conn);
            if !stale {
                drop(guard);
                return Ok(leased);
            }
            let mut script = Script::default();
            script.push(Step::Quiet, "SELECT 1");
            leased.patience = TRIAL;
            let alive = leased.run(&script, |_, _| Ok(())).await.is_ok();
            leased.patience = PATIENCE;
            if alive {
                drop(guard);
                return Ok(leased);
            }
            leased.discard();
            leased.clean = true;
        }
        leased.conn = Some(self.connect().await?);
        drop(guard);
        Ok(leased)
    }

    async fn connect(&self) -> Result<Conn, Error> {
        let until = self.backoff.lock().unwrap_or_else(PoisonError::into_inner).until;
        if let Some(until) = until
            && Instant::now() < until
        {
            return Err(Error::Unavailable("PostgreSQL cannot be reached".to_owned()));
        }
        let connected = tokio::time::timeout(self.config.connect_timeout, self.connect_now()).await;
        let connected = connected.unwrap_or_else(|_| {
            Err(Error::Unavailable("PostgreSQL: no answer in time".to_owned()))
        });
        let mut backoff = self.backoff.lock().unwrap_or_else(PoisonError::into_inner);
        match connected {
            Ok(conn) => {
                *backoff = Backoff { until: None, next: BACKOFF };
                self.counters.connected.fetch_add(1, Ordering::Relaxed);
                self.counters.connections.fetch_add(1, Ordering::Relaxed);
                Ok(conn)
            }
            Err(error) => {
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                let next = (backoff.next * 2).min(MAX_BACKOFF);
                *backoff = Backoff { until: Some(Instant::now() + backoff.next), next };
                Err(error)
            }
        }
    }

    async fn connect_now(&self) -> Result<Conn, Error> {
        let failed = |e: sqlx::Error| match SqlError::from(e) {
            // The database, the user or the password is wrong: no use to wait.
            e if e.code.starts_with("28") || e.code == "3D000" => Error::Unavailable(e.message),
            e => e.into(),
        };
        let mut pg = self.options.connect().await.map_err(failed)?;
        let told = sqlx::query_as("SELECT tessera.epoch(), gen_random_uuid()::text");
        let (epoch, name): (String, String) = match told.fetch_one(&mut pg).await {
            Ok(told) => told,
            Err(error) => match SqlError::from(error) {
                // Nothing is made yet: see `open::prepare_database`.
                e if e.code == "3F000" || e.code == "42883" => Default::default(),
                e => return Err(e.into()),
            },
        };
        Ok(Conn {
            pg,
            prepared: HashMap::new(),
            uses: 0,
            epoch: epoch.into(),
            name: name.into(),
            commits: 0,
            idle_since: Instant::now(),
        })
    }
}

impl Leased {
    /// Closes the connection.
    pub(super) fn discard(&mut self) {
        if self.conn.take().is_some() {
            self.pool.counters.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Ends a transaction that has failed, or the connection.
    pub(super) async fn rollback(&mut self) {
        if self.conn.is_some() && self.clean {
            let mut script = Script::default();
            script.push(Step::Quiet, "ROLLBACK");
            // What ran out of time while it took positions may still have their lock: it is the session's.
            script.push(Step::Quiet, "SELECT pg_advisory_unlock_all()");
            if self.run(&script, |_, _| Ok(())).await.is_ok() {
                self.in_transaction = false;
                return;
            }
        }
        self.discard();
    }

    /// See [`Conn::epoch`].
    pub(super) fn epoch(&self) -> Arc<str> {
        self.conn.as_ref().map(|conn| conn.epoch.clone()).unwrap_or_default()
    }

    /// The connection's name, and a number for its next commit. `None`: there is no connection.
    pub(super) fn next_commit(&mut self) -> Option<(Arc<str>, u64)> {
        let conn = self.conn.as_mut()?;
        conn.commits += 1;
        Some((Arc::clone(&conn.name), conn.commits))
    }

    /// Whether the connection knows a statement; marks it as used.
    pub(super) fn knows(&mut self, id: u64) -> bool {
        let Some(conn) = &mut self.conn else { return false };
        conn.uses += 1;
        let uses = conn.uses;
        match conn.prepared.get_mut(&id) {
            Some(used) => {
                *used = uses;
                true
            }
            None => false,
        }
    }

    /// Makes room for `more` statements: those used longest ago are forgotten.
    pub(super) fn make_room(&mut self, script: &mut Script, more: usize, keep: &[u64]) {
        let cap = self.pool.config.statements.max(64);
        let Some(conn) = &self.conn else { return };
        if conn.prepared.len() + more <= cap {
            return;
        }
        let others = conn.prepared.iter().filter(|(id, _)| !keep.contains(id));
        let mut uses: Vec<(u64, u64)> = others.map(|(id, used)| (*used, *id)).collect();
        uses.sort_unstable();
        // Some at once, or each new statement would come with a removal.
        for (_, id) in uses.into_iter().take(more + cap / 8) {
            script.push(Step::Deallocate(id), &format!("DEALLOCATE t{id}"));
        }
    }

    /// What the server thinks of a statement: its parameters and columns.
    pub(super) async fn describe(
        &mut self,
        id: u64,
        sql: &str,
    ) -> Result<super::meta::Meta, SqlError> {
        self.clean = false;
        let Some(conn) = &mut self.conn else {
            return Err(SqlError::broken("no connection".to_owned()));
        };
        self.pool.counters.round_trips.fetch_add(1, Ordering::Relaxed);
        // Told apart from the same text before the schema changed: sqlx remembers by text.
        let text = sqlx::AssertSqlSafe(format!("{sql} -- t{id}"));
        let prepare = (&mut conn.pg).prepare(sqlx::SqlSafeStr::into_sql_str(text));
        let Ok(prepared) = tokio::time::timeout(self.patience, prepare).await else {
            return Err(silent());
        };
        match prepared {
            Ok(statement) => {
                self.clean = true;
                Ok(super::meta::Meta::of(&statement))
            }
            Err(error) => {
                let error = SqlError::from(error);
                self.clean = !error.broken;
                Err(error)
            }
        }
    }

    /// Sends a script and reads all answers. `each` gets the number of a step and a row of its
    /// result; an error of its own closes the connection. Gives the rows touched by each step.
    pub(super) async fn run(
        &mut self,
        script: &Script,
        mut each: impl FnMut(usize, Line<'_>) -> Result<(), Error>,
    ) -> Result<Vec<u64>, Stop> {
        self.clean = false;
        let mut counts = Vec::with_capacity(script.steps.len());
        let result = self.run_steps(script, &mut counts, &mut each).await;
        let step = counts.len();
        if let Some(conn) = &mut self.conn {
            for done in script.steps.iter().take(step) {
                match done {
                    Step::Prepare(id) => {
                        conn.prepared.insert(*id, conn.uses);
                    }
                    Step::Deallocate(id) => {
                        conn.prepared.remove(id);
                    }
                    _ => {}
                }
            }
        }
        match result {
            Ok(()) => {
                self.clean = true;
                Ok(counts)
            }
            Err(why) => {
                self.clean = matches!(&why, Why::Sql(error) if !error.broken);
                if matches!(&why, Why::Sql(error) if error.broken) {
                    self.pool.forget_idle();
                }
                if !self.clean {
                    self.discard();
                }
                Err(Stop { step, why })
            }
        }
    }

    async fn run_steps(
        &mut self,
        script: &Script,
        counts: &mut Vec<u64>,
        each: &mut impl FnMut(usize, Line<'_>) -> Result<(), Error>,
    ) -> Result<(), Why> {
        let Some(conn) = &mut self.conn else {
            return Err(Why::Sql(SqlError::broken("no connection".to_owned())));
        };
        self.pool.counters.round_trips.fetch_add(1, Ordering::Relaxed);
        let text = sqlx::raw_sql(sqlx::AssertSqlSafe(script.sql.clone()));
        let mut stream = text.fetch_many(&mut conn.pg);
        let sql = |e: sqlx::Error| Why::Sql(SqlError::from(e));
        loop {
            let answer = tokio::time::timeout(self.patience, stream.try_next()).await;
            let answer = answer.map_err(|_| Why::Sql(silent()))?.map_err(sql)?;
            let Some(answer) = answer else { break };
            match answer {
                Either::Left(done) => counts.push(done.rows_affected()),
                Either::Right(row) => each(counts.len(), Line(&row)).map_err(Why::Ours)?,
            }
        }
        Ok(())
    }
}

fn silent() -> SqlError {
    SqlError::broken("the server does not answer".to_owned())
}

impl Drop for Leased {
    fn drop(&mut self) {
        if !self.clean || self.in_transaction {
            self.discard();
        }
        if let Some(mut conn) = self.conn.take() {
            conn.idle_since = Instant::now();
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
    }
}
