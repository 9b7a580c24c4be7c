//! A plug-in's access to its tenant's database.

use std::sync::Arc;
use std::time::Duration;

use crate::lock::Locks;
use crate::sqlite::EngineSession;
use crate::{Batch, Committed, Error, Hit, LockGuard, Query, Rows, Snapshot};

/// What a plug-in reads and writes through. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    pub(crate) engine: EngineSession,
    pub(crate) locks: Arc<Locks>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("plugin", &self.engine.plugin()).finish_non_exhaustive()
    }
}

impl Session {
    /// One SELECT.
    pub async fn query(&self, query: Query) -> Result<Rows, Error> {
        self.engine.query(query).await
    }

    /// Several SELECTs of one moment, with the horizon of that moment.
    pub async fn snapshot(&self, queries: Vec<Query>) -> Result<Snapshot, Error> {
        self.engine.snapshot(queries).await
    }

    /// All of the batch or nothing. Dropping the future does not undo it.
    pub async fn commit(&self, batch: Batch) -> Result<Committed, Error> {
        self.engine.commit(batch).await
    }

    /// Entries whose text has every word of `query`, best first; `word*` finds by prefix.
    /// `groups`: only these. At most 1,000 hits per call.
    pub async fn search(
        &self,
        index: &str,
        query: &str,
        groups: Option<Vec<String>>,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<Hit>, Error> {
        self.engine.search(index, query, groups, limit, offset).await
    }

    /// Locks keys of this plug-in within this process; waits at most `max_wait`. At most 64 keys.
    pub async fn lock(&self, keys: Vec<String>, max_wait: Duration) -> Result<LockGuard, Error> {
        self.locks.lock(self.engine.plugin(), keys, max_wait).await
    }
}
