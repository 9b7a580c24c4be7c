//! `tessera:host/limits`: token buckets for what the edge cannot count.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use moka::sync::Cache;

use crate::{bindings::tessera::host::limits as wit, state::State};

/// A class of the descriptor (`[limits.NAME]`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LimitClass {
    /// Tokens that come back each second; 0 switches the class off.
    pub per_second: f64,
    /// Tokens in a full bucket.
    pub burst: u32,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

/// The buckets of one tenant.
pub struct Buckets {
    classes: BTreeMap<String, LimitClass>,
    buckets: Cache<(String, String), Arc<Mutex<Bucket>>>,
}

/// Some 20 MiB at worst. The table keeps what is asked for often, so a key under attack stays.
const BUCKETS_MAX: u64 = 100_000;

impl Buckets {
    /// Buckets for these classes, all full.
    #[must_use]
    pub fn new(classes: BTreeMap<String, LimitClass>) -> Self {
        // A bucket untouched for as long as it takes to fill is as good as a new one.
        let fill = classes
            .values()
            .filter(|class| class.per_second > 0.0)
            .map(|class| f64::from(class.burst) / class.per_second)
            .fold(60.0, f64::max)
            .min(30.0 * 86_400.0);
        let buckets = Cache::builder()
            .max_capacity(BUCKETS_MAX)
            .time_to_idle(Duration::from_secs_f64(fill))
            .build();
        Self { classes, buckets }
    }

    /// Takes `n` tokens at `now`.
    ///
    /// # Errors
    ///
    /// The milliseconds after which there are enough; nothing was taken. More than a full bucket holds are
    /// never there: the error is then the time that a full bucket takes.
    pub fn take(
        &self,
        plugin: &str,
        class: &str,
        key: &str,
        n: u32,
        now: Instant,
    ) -> Result<(), u64> {
        let Some(limit) = self.classes.get(class).filter(|limit| limit.per_second > 0.0) else {
            return Ok(());
        };
        let full = f64::from(limit.burst);
        let bucket = self.buckets.get_with((class.to_owned(), format!("{plugin}\0{key}")), || {
            Arc::new(Mutex::new(Bucket { tokens: full, at: now }))
        });
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + since * limit.per_second).min(full);
        bucket.at = bucket.at.max(now);
        let wanted = f64::from(n);
        if bucket.tokens >= wanted {
            bucket.tokens -= wanted;
            return Ok(());
        }
        let seconds = (wanted.min(full) - bucket.tokens) / limit.per_second;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and `as` saturates"
        )]
        let ms = (seconds * 1000.0).ceil() as u64;
        Err(ms.max(1))
    }
}

impl wit::Host for State {
    fn take(&mut self, class: String, key: String, n: u32) -> wasmtime::Result<Result<(), u64>> {
        self.enter()?;
        if self.call.context.shadow.is_some() {
            // What the call itself takes is enough.
            return Ok(Ok(()));
        }
        Ok(self.caps.shared.buckets.take(&self.caps.plugin, &class, &key, n, Instant::now()))
    }

    fn cap(&mut self, name: String) -> wasmtime::Result<Option<u64>> {
        self.enter()?;
        Ok(self.caps.shared.account.cap(&name))
    }
}
