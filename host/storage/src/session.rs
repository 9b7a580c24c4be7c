//! A plug-in's access to its tenant's database.

use std::time::Duration;

use crate::{Batch, Committed, Error, Hit, LockGuard, Query, Rows, SessionGrant, Snapshot};

/// What a plug-in reads and writes through. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Session {
    pub(crate) _grant: SessionGrant,
}

fn pending<T>() -> Result<T, Error> {
    Err(Error::Unavailable("under construction".to_owned()))
}

impl Session {
    /// One SELECT.
    pub async fn query(&self, query: Query) -> Result<Rows, Error> {
        let _ = query;
        pending()
    }

    /// Several SELECTs of one moment, with the horizon of that moment.
    pub async fn snapshot(&self, queries: Vec<Query>) -> Result<Snapshot, Error> {
        let _ = queries;
        pending()
    }

    /// All of the batch or nothing. Dropping the future does not undo it.
    pub async fn commit(&self, batch: Batch) -> Result<Committed, Error> {
        let _ = batch;
        pending()
    }

    /// Entries whose text has every word of `query`, best first; `word*` finds by prefix.
    /// `groups`: only these.
    pub async fn search(
        &self,
        index: &str,
        query: &str,
        groups: Option<Vec<String>>,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<Hit>, Error> {
        let _ = (index, query, groups, limit, offset);
        pending()
    }

    /// Locks keys of this plug-in within this process; waits at most `max_wait`.
    pub async fn lock(&self, keys: Vec<String>, max_wait: Duration) -> Result<LockGuard, Error> {
        let _ = (keys, max_wait);
        pending()
    }
}
