//! The PostgreSQL engine: schemas in one database behind [`crate::Database`].

mod access;
mod code;
mod commit;
pub(crate) mod flavor;
mod fulltext;
mod horizon;
mod install;
mod meta;
mod names;
mod open;
mod ops;
mod outbox;
mod outcome;
mod pool;
mod script;
mod session;
mod timers;
mod transfer;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::sync::Cache;
use tokio::sync::{Notify, Semaphore};

use crate::catalog::Catalog;
use crate::counts::Counts;
use crate::dialect::Flavor;
use crate::fence::{Fences, gone};
use crate::quota::Quota;
use crate::{Database, DatabaseConfig, Error, OpenError, Stats, Wake};

use horizon::Horizon;
use pool::{Leased, Pool};

pub(crate) use session::EngineSession;

/// How to reach a PostgreSQL database, and how much of it to use.
#[derive(Clone)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database?sslmode=…`. The user needs CREATEROLE, and CREATE
    /// on the database; it need not be a superuser.
    pub url: String,
    /// Connections at one time, for all tenants together.
    pub connections: usize,
    /// Callers that may wait for a connection before [`Error::Busy`].
    pub queue: usize,
    /// How long connecting may take, and how long a caller waits for a connection.
    pub connect_timeout: Duration,
    /// Prepared statements kept per connection; each costs the server some 20 KiB.
    pub statements: usize,
}

impl std::fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the address: it holds a password.
        f.debug_struct("PostgresConfig")
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl PostgresConfig {
    /// The defaults for this address.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections: 16,
            queue: 4_096,
            connect_timeout: Duration::from_secs(10),
            statements: 1_024,
        }
    }
}

/// Counters of the connections to PostgreSQL since the start, and gauges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostgresStats {
    /// Connections that are open (gauge).
    pub connections: u64,
    /// Of these, unused (gauge).
    pub idle: u64,
    /// Callers waiting for one (gauge).
    pub waiting: u64,
    /// Connections made.
    pub connected: u64,
    /// Attempts to connect that failed.
    pub failed: u64,
    /// Messages sent that were waited for.
    pub round_trips: u64,
}

/// One process' connections to a PostgreSQL database, shared by all tenants in it. Cheap to clone.
#[derive(Clone)]
pub struct Postgres {
    pool: Arc<Pool>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("stats", &self.stats()).finish()
    }
}

impl Postgres {
    /// Connects, looks whether the server can be used, and makes what all tenants share. The
    /// server must be PostgreSQL 15 or newer, the database's encoding UTF8.
    pub async fn connect(config: PostgresConfig) -> Result<Self, OpenError> {
        let pool = Arc::new(Pool::new(config)?);
        open::prepare_database(&pool).await?;
        Ok(Self { pool })
    }

    /// Opens or creates a tenant's schema. Several processes may have it open.
    pub async fn open(
        &self,
        tenant: &str,
        config: DatabaseConfig,
        wake: Arc<dyn Wake>,
    ) -> Result<Database, OpenError> {
        let locks = config.locks;
        let engine = open::open(&self.pool, tenant, config, wake).await?;
        Ok(Database::on_postgres(engine, locks))
    }

    /// Names of all tenants that have a schema, sorted.
    pub async fn tenants(&self) -> Result<Vec<String>, Error> {
        open::tenants(&self.pool).await
    }

    /// Removes a tenant with all it has. No process may have it open. False: there was none.
    pub async fn drop_tenant(&self, tenant: &str) -> Result<bool, Error> {
        open::drop_tenant(&self.pool, tenant).await
    }

    /// Counters for metrics.
    pub fn stats(&self) -> PostgresStats {
        self.pool.stats()
    }
}

/// A tenant's schema.
pub(crate) struct Engine {
    pool: Arc<Pool>,
    config: DatabaseConfig,
    tenant: String,
    /// The key of its advisory locks.
    number: i32,
    /// The schema's name, as it is; it needs no quotes.
    schema: String,
    /// The name of the database, part of the names of roles.
    database: String,
    flavor: Arc<dyn Flavor + Send>,
    fences: Fences,
    catalog: ArcSwap<Catalog>,
    /// Changes with the schema.
    generation: AtomicU64,
    /// A digest of all columns, as of the catalog.
    shape: Mutex<String>,
    horizon: Arc<Horizon>,
    wake: Arc<dyn Wake>,
    stats: Counts,
    metas: Cache<u64, Arc<meta::Meta>>,
    /// Roles that are there, with the views that they may read.
    roles: Mutex<HashMap<String, HashSet<String>>>,
    /// The server's start up to which positions are known to be safe.
    epoch: Mutex<Arc<str>>,
    reading: Gate,
    writing: Gate,
    /// For the host's own statements.
    asking: Gate,
    closed: AtomicBool,
    active: AtomicUsize,
    idle: Notify,
    /// Consumers that have settled something since they moved on: topic and consumer.
    settled: Mutex<HashSet<(String, String)>>,
    advancing: AtomicBool,
    outbox_full: AtomicBool,
    emitting: AtomicU64,
    quota: Quota,
}

/// A tenant's share of the connections: one tenant must not take them all.
struct Gate {
    permits: Semaphore,
    waiting: AtomicUsize,
    queue: usize,
}

impl Gate {
    fn new(permits: usize, queue: usize) -> Self {
        Self { permits: Semaphore::new(permits.max(1)), waiting: AtomicUsize::new(0), queue }
    }

    async fn enter(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Error> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.queue {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::Busy);
        }
        let permit = self.permits.acquire().await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        permit.map_err(|_| gone())
    }
}

/// Counts work that `close` waits for.
struct Active(Arc<Engine>);

impl Drop for Active {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl Engine {
    /// Waits until everything accepted is done; later work is refused.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.active.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }

    pub(crate) fn horizon(&self) -> u64 {
        self.horizon.known()
    }

    pub(crate) fn horizon_seen(&self, horizon: u64) {
        self.horizon.reached(horizon, &*self.wake);
    }

    pub(crate) fn stats(&self) -> Stats {
        let waiting = |gate: &Gate| gate.waiting.load(Ordering::Relaxed) as u64;
        self.stats.snapshot(waiting(&self.writing), waiting(&self.reading))
    }

    fn begin_work(self: &Arc<Self>) -> Result<Active, Error> {
        self.active.fetch_add(1, Ordering::AcqRel);
        let active = Active(self.clone());
        if self.closed.load(Ordering::Acquire) { Err(gone()) } else { Ok(active) }
    }

    /// Runs work on a task of its own: a caller that goes away leaves no connection half used and
    /// undoes no commit.
    async fn detached<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let active = self.begin_work()?;
        let task = tokio::spawn(async move {
            let result = work.await;
            drop(active);
            result
        });
        task.await.map_err(|_| Error::Unavailable("a database task panicked".to_owned()))?
    }

    /// A connection that may touch this tenant's positions.
    async fn lease(&self) -> Result<Leased, Error> {
        let mut leased = self.pool.lease().await?;
        let epoch = leased.epoch();
        if *self.epoch() != epoch {
            open::after_restart(&mut leased, &self.schema, self.number, &epoch).await?;
            *self.epoch() = epoch;
        }
        Ok(leased)
    }

    fn epoch(&self) -> std::sync::MutexGuard<'_, Arc<str>> {
        self.epoch.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
