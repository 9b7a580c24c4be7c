//! The PostgreSQL engine: schemas in one cluster's database behind [`crate::Database`].

use std::sync::Arc;
use std::time::Duration;

use crate::{
    Batch, Committed, Consumer, Database, DatabaseConfig, DeadLetter, Delivery, Error, Head, Hit,
    InstallError, OpenError, OutboxQuery, PluginSchema, Query, Rows, SessionGrant, Snapshot, Stats,
    Timer, Usage, Wake,
};

/// How to reach a PostgreSQL database, and how much of it to use.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database?sslmode=…`. The user needs CREATEROLE and CREATE
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
pub struct Postgres {}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

impl Postgres {
    /// Connects, and looks whether the server can be used.
    pub async fn connect(_config: PostgresConfig) -> Result<Self, OpenError> {
        Err(OpenError::Engine { path: "postgres".to_owned(), message: "not built yet".to_owned() })
    }

    /// Opens or creates a tenant's schema.
    pub async fn open(
        &self,
        _tenant: &str,
        _config: DatabaseConfig,
        _wake: Arc<dyn Wake>,
    ) -> Result<Database, OpenError> {
        let _ = Database::on_postgres;
        Err(OpenError::Engine { path: "postgres".to_owned(), message: "not built yet".to_owned() })
    }

    /// Removes a tenant with all it has. False: there was none.
    pub async fn drop_tenant(&self, _tenant: &str) -> Result<bool, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    /// Counters for metrics.
    pub fn stats(&self) -> PostgresStats {
        PostgresStats::default()
    }
}

/// A tenant's schema.
pub(crate) struct Engine {}

impl Engine {
    pub(crate) async fn close(&self) {}

    pub(crate) fn horizon(&self) -> u64 {
        0
    }

    pub(crate) fn horizon_seen(&self, _horizon: u64) {}

    pub(crate) fn stats(&self) -> Stats {
        Stats::default()
    }

    pub(crate) async fn install(&self, _schema: PluginSchema) -> Result<(), InstallError> {
        Err(InstallError::Name { plugin: _schema.plugin, reason: "not built yet".to_owned() })
    }

    pub(crate) async fn register(&self, _topic: &str, _consumer: &str) -> Result<(), Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn unregister(&self, _topic: &str, _consumer: &str) -> Result<(), Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn consumers(&self) -> Result<Vec<Consumer>, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn outbox(&self, _query: OutboxQuery) -> Result<Vec<Delivery>, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn next_try(
        &self,
        _topic: &str,
        _consumer: &str,
    ) -> Result<Option<u64>, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn ack(&self, _consumer: &str, _message: u64) -> Result<bool, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn fail(
        &self,
        _consumer: &str,
        _message: u64,
        _error: &str,
        _next_ms: Option<u64>,
    ) -> Result<u32, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn dead_letters(
        &self,
        _consumer: Option<&str>,
        _after: u64,
        _limit: u32,
    ) -> Result<Vec<DeadLetter>, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn dead_retry(&self, _consumer: &str, _message: u64) -> Result<bool, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn dead_drop(&self, _consumer: &str, _message: u64) -> Result<bool, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn timer_set(
        &self,
        _plugin: &str,
        _name: &str,
        _due_ms: u64,
        _payload: &str,
    ) -> Result<(), Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn timer_cancel(&self, _plugin: &str, _name: &str) -> Result<bool, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn timers_due(
        &self,
        _now_ms: u64,
        _limit: u32,
        _each: u32,
    ) -> Result<Vec<Timer>, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn timers_claim(
        &self,
        _now_ms: u64,
        _limit: u32,
        _each: u32,
        _ttl_ms: u64,
    ) -> Result<Vec<Timer>, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn lease(
        &self,
        _name: &str,
        _holder: &str,
        _ttl_ms: u64,
    ) -> Result<bool, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn release_lease(&self, _name: &str, _holder: &str) -> Result<(), Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn heads(
        &self,
        _topic: Option<&str>,
        _now_ms: u64,
        _older_than_ms: u64,
        _limit: u32,
    ) -> Result<Vec<Head>, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn usage(&self) -> Result<Usage, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn timer_after(&self, _now_ms: u64) -> Result<Option<u64>, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn timer_postpone(&self, _timer: &Timer, _due_ms: u64) -> Result<(), Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn timer_next(&self) -> Result<Option<u64>, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn timer_finish(&self, _timer: &Timer) -> Result<(), Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }
}

/// A plug-in's access.
#[derive(Clone)]
pub(crate) struct EngineSession {
    plugin: String,
}

impl EngineSession {
    pub(crate) fn new(_engine: Arc<Engine>, grant: SessionGrant) -> Self {
        Self { plugin: grant.plugin }
    }

    pub(crate) fn plugin(&self) -> &str {
        &self.plugin
    }

    pub(crate) async fn query(&self, _query: Query) -> Result<Rows, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn snapshot(&self, _queries: Vec<Query>) -> Result<Snapshot, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn commit(&self, _batch: Batch) -> Result<Committed, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    pub(crate) async fn search(
        &self,
        _index: &str,
        _query: &str,
        _groups: Option<Vec<String>>,
        _limit: u32,
        _offset: u32,
    ) -> Result<Vec<Hit>, Error> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }
}
