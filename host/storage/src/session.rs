//! A plug-in's access to its tenant's database.

use crate::types::Order;
use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument, Span, info_span};

use crate::lock::Locks;
use crate::{Batch, Committed, Error, Hit, LockGuard, Query, Rows, Snapshot, postgres, sqlite};

/// The target of spans that are exported; without an exporter they cost a look.
const SPAN: &str = "tessera::span";

/// A span within the one that runs; none by itself: what the host asks for its own sake is no trace.
fn within(span: impl FnOnce() -> Span) -> Span {
    if Span::current().is_none() { Span::none() } else { span() }
}

/// What a plug-in reads and writes through. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    engine: Engine,
    locks: Arc<Locks>,
}

#[derive(Clone)]
enum Engine {
    Sqlite(sqlite::EngineSession),
    Postgres(postgres::EngineSession),
}

/// Does the same on either engine.
macro_rules! on {
    ($session:expr, $engine:ident => $do:expr) => {
        match &$session.engine {
            Engine::Sqlite($engine) => $do,
            Engine::Postgres($engine) => $do,
        }
    };
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("plugin", &self.plugin()).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn on_sqlite(engine: sqlite::EngineSession, locks: Arc<Locks>) -> Self {
        Self { engine: Engine::Sqlite(engine), locks }
    }

    pub(crate) fn on_postgres(engine: postgres::EngineSession, locks: Arc<Locks>) -> Self {
        Self { engine: Engine::Postgres(engine), locks }
    }

    fn plugin(&self) -> &str {
        on!(self, engine => engine.plugin())
    }

    /// One SELECT.
    pub async fn query(&self, query: Query) -> Result<Rows, Error> {
        let span = within(|| info_span!(target: SPAN, "query", plugin = self.plugin()));
        on!(self, engine => engine.query(query).instrument(span).await)
    }

    /// Several SELECTs of one moment, with the horizon of that moment.
    pub async fn snapshot(&self, queries: Vec<Query>) -> Result<Snapshot, Error> {
        let statements = queries.len();
        let plugin = self.plugin();
        let span = within(|| info_span!(target: SPAN, "snapshot", plugin, statements));
        on!(self, engine => engine.snapshot(queries).instrument(span).await)
    }

    /// All of the batch or nothing. Dropping the future does not undo it.
    pub async fn commit(&self, batch: Batch) -> Result<Committed, Error> {
        let statements = batch.statements.len();
        let plugin = self.plugin();
        let span = within(|| info_span!(target: SPAN, "commit", plugin, statements));
        on!(self, engine => engine.commit(batch).instrument(span).await)
    }

    /// Entries whose text has every word of `query`, in this order; `word*` finds by prefix.
    /// `groups`: only these. At most 1,000 hits per call.
    pub async fn search(
        &self,
        index: &str,
        query: &str,
        groups: Option<Vec<String>>,
        order: Order,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<Hit>, Error> {
        on!(self, engine => engine.search(index, query, groups, order, limit, offset).await)
    }

    /// Locks keys of this plug-in within this process, on both engines: it spares retries, and what
    /// is done in other processes is guarded by the commits themselves. Waits at most `max_wait`. At
    /// most 64 keys.
    pub async fn lock(&self, keys: Vec<String>, max_wait: Duration) -> Result<LockGuard, Error> {
        self.locks.lock(self.plugin(), keys, max_wait).await
    }
}
