//! Caps on rows and bytes: what the last look at the usage said.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{Batch, DatabaseConfig, Error, Usage};

/// How often usage is looked at, if there are commits: to see it counts all rows.
const EVERY: Duration = Duration::from_secs(10);
/// The same while over quota: by then room that was made is noticed.
const EVERY_OVER: Duration = Duration::from_secs(2);

/// Bytes that the host may use beyond a cap of `max`, where the engine holds it: what is stored must be settled,
/// timers go on, and a new version of a plug-in can make its tables.
pub(crate) fn slack(max: u64) -> u64 {
    (max / 10).saturating_add(4 << 20)
}

/// A tenant's quota.
#[derive(Default)]
pub(crate) struct Quota(Mutex<State>);

#[derive(Default)]
struct State {
    looked: Option<Instant>,
    over: Option<String>,
}

/// Whether a batch may make the database larger. One that deletes may tell of it.
pub(crate) fn adds(batch: &Batch) -> bool {
    let word = |sql: &str| sql.trim_start().get(..6).map(str::to_ascii_lowercase);
    let has = |verb: &str| batch.statements.iter().any(|s| word(&s.sql).as_deref() == Some(verb));
    has("insert")
        || batch.full_text.iter().any(|entry| entry.text.is_some())
        || !batch.messages.is_empty() && !has("delete")
}

impl Quota {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to look; whoever is told so looks.
    pub(crate) fn due(&self) -> bool {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let every = if state.over.is_some() { EVERY_OVER } else { EVERY };
        let due = state.looked.is_none_or(|at| now.saturating_duration_since(at) > every);
        if due {
            state.looked = Some(now);
        }
        due
    }

    /// Takes up what was seen. `bytes`: whether the cap on them is held here.
    pub(crate) fn seen(&self, usage: Usage, config: &DatabaseConfig, bytes: bool) {
        let over = |what: &str, has: u64, cap: Option<u64>| {
            cap.filter(|cap| has > *cap).map(|cap| format!("{has} {what}, {cap} are allowed"))
        };
        let rows = over("rows", usage.rows, config.max_rows);
        let bytes = over("bytes", usage.bytes, config.max_bytes.filter(|_| bytes));
        self.lock().over = rows.or(bytes);
    }

    /// Refuses while over quota.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.lock().over.clone().map_or(Ok(()), |what| Err(Error::Quota(what)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Message, Statement};

    #[test]
    fn one_over_quota_is_not_counted_at_each_commit() {
        let (quota, start) = (Quota::default(), Instant::now());
        let at = |ms| quota.due_at(start + Duration::from_millis(ms));
        let config = DatabaseConfig { max_rows: Some(5), ..DatabaseConfig::default() };
        let see = |rows| quota.seen(Usage { rows, bytes: 0 }, &config, false);
        assert!(at(0) && !at(1) && !at(9_999), "while within it");
        see(6);
        assert!(quota.check().is_err());
        assert_eq!((0..10_000).filter(|ms| at(10_001 + ms)).count(), 5);
        see(5);
        assert_eq!(quota.check(), Ok(()));
    }

    #[test]
    fn what_deletes_does_not_add_even_if_it_tells_of_it() {
        let batch = |sql: &[&str], messages: usize| Batch {
            statements: sql
                .iter()
                .map(|sql| Statement { sql: (*sql).to_owned(), ..Statement::default() })
                .collect(),
            messages: vec![Message::default(); messages],
            ..Batch::default()
        };
        assert!(!adds(&batch(&["DELETE FROM a"], 1)) && !adds(&batch(&["UPDATE a SET b = 1"], 0)));
        assert!(adds(&batch(&["DELETE FROM a", " insert INTO a"], 0)));
        assert!(adds(&batch(&["UPDATE a SET b = 1"], 1)) && adds(&batch(&[], 1)));
    }
}
