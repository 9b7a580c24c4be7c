//! Keyed locks inside this process: they spare retries and are never needed for correctness.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::Error;

/// Keys of one call.
const MAX_KEYS: usize = 64;

type Table = Mutex<HashMap<String, Weak<AsyncMutex<()>>>>;

/// All locks of a database. An entry lives as long as someone holds or awaits it.
#[derive(Debug)]
pub(crate) struct Locks {
    table: Arc<Table>,
    cap: usize,
}

struct Held {
    key: String,
    table: Arc<Table>,
    lock: Option<Arc<AsyncMutex<()>>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the table's lock nobody can take up the entry between look and removal.
        self.guard = None;
        self.lock = None;
        if table.get(&self.key).is_some_and(|weak| weak.strong_count() == 0) {
            table.remove(&self.key);
        }
    }
}

/// Held keys; dropping it releases them.
pub struct LockGuard {
    held: Vec<Held>,
}

impl std::fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.held.iter().map(|h| &h.key)).finish()
    }
}

impl Locks {
    pub(crate) fn new(cap: usize) -> Self {
        Self { table: Arc::default(), cap }
    }

    /// Keys in use.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn enter(&self, key: &str) -> Result<Held, Error> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let known = table.get(key).and_then(Weak::upgrade);
        let lock = match known {
            Some(lock) => lock,
            None if table.len() >= self.cap => return Err(Error::Busy),
            None => {
                let lock = Arc::new(AsyncMutex::new(()));
                table.insert(key.to_owned(), Arc::downgrade(&lock));
                lock
            }
        };
        drop(table);
        Ok(Held { key: key.to_owned(), table: self.table.clone(), lock: Some(lock), guard: None })
    }

    /// Locks all keys, in sorted order so that two callers cannot wait for one another.
    pub(crate) async fn lock(
        &self,
        plugin: &str,
        mut keys: Vec<String>,
        max_wait: Duration,
    ) -> Result<LockGuard, Error> {
        keys.sort();
        keys.dedup();
        if keys.len() > MAX_KEYS {
            return Err(Error::TooLarge(format!("more than {MAX_KEYS} keys")));
        }
        let all = async {
            let mut held = Vec::with_capacity(keys.len());
            for key in &keys {
                let mut entry = self.enter(&format!("{plugin}/{key}"))?;
                if let Some(lock) = entry.lock.clone() {
                    entry.guard = Some(lock.lock_owned().await);
                }
                held.push(entry);
            }
            Ok(LockGuard { held })
        };
        tokio::time::timeout(max_wait, all).await.map_err(|_| Error::Timeout)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_table_is_empty_when_nobody_holds_a_key() {
        let locks = Locks::new(10);
        let guard = locks.lock("a", vec!["x".into(), "y".into()], Duration::ZERO).await.unwrap();
        assert_eq!(locks.len(), 2);
        let waited = locks.lock("a", vec!["x".into()], Duration::from_millis(1)).await;
        assert_eq!(waited.unwrap_err(), Error::Timeout);
        assert_eq!(locks.len(), 2);
        drop(guard);
        assert_eq!(locks.len(), 0);
    }

    #[tokio::test]
    async fn more_keys_than_the_cap_are_busy() {
        let locks = Locks::new(1);
        let _one = locks.lock("a", vec!["x".into()], Duration::ZERO).await.unwrap();
        let two = locks.lock("b", vec!["x".into()], Duration::ZERO).await;
        assert_eq!(two.unwrap_err(), Error::Busy);
    }
}
