//! Caps on rows and bytes: what the last look at the usage said.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{Batch, DatabaseConfig, Error, Usage};

/// How often usage is looked at, if there are commits. While over quota: with each that adds, so that
/// room made is noticed at once.
const EVERY: Duration = Duration::from_secs(10);

/// A tenant's quota.
#[derive(Default)]
pub(crate) struct Quota(Mutex<State>);

#[derive(Default)]
struct State {
    looked: Option<Instant>,
    over: Option<String>,
}

/// Whether a batch may make the database larger.
pub(crate) fn adds(batch: &Batch) -> bool {
    let word = |sql: &str| sql.trim_start().get(..6).map(str::to_ascii_lowercase);
    !batch.messages.is_empty()
        || batch.full_text.iter().any(|entry| entry.text.is_some())
        || batch.statements.iter().any(|s| word(&s.sql).as_deref() == Some("insert"))
}

impl Quota {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to look; whoever is told so looks.
    pub(crate) fn due(&self) -> bool {
        let mut state = self.lock();
        let due = state.over.is_some() || state.looked.is_none_or(|at| at.elapsed() > EVERY);
        if due {
            state.looked = Some(Instant::now());
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
