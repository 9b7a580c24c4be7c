//! `tessera:host/limits`: token buckets for what the edge cannot count.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use moka::sync::Cache;

use crate::{
    bindings::tessera::{
        host::limits as wit,
        plugin::identity::{Principal, RateOverride},
    },
    state::State,
};

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

/// Rates of the user whose request a call answers.
#[derive(Debug, Clone)]
pub(crate) struct OwnRates {
    user: String,
    rates: Vec<RateOverride>,
}

impl OwnRates {
    /// None where the user has none.
    pub(crate) fn of(principal: Option<&Principal>) -> Option<Self> {
        let principal = principal.filter(|principal| !principal.rates.is_empty())?;
        Some(Self { user: principal.user.clone(), rates: principal.rates.clone() })
    }

    /// The rate for a class where the key is the user.
    fn rate(&self, class: &str, key: &str) -> Option<LimitClass> {
        let rate = self.rates.iter().find(|rate| key == self.user && rate.class == class)?;
        // What is no number is no limit.
        let per_second = if rate.per_second.is_finite() { rate.per_second } else { 0.0 };
        Some(LimitClass { per_second, burst: rate.burst.max(1) })
    }
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
            // Users may have slower rates of their own.
            .fold(86_400.0, f64::max)
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
        match self.classes.get(class) {
            Some(limit) => self.take_at(plugin, class, key, n, now, *limit),
            None => Ok(()),
        }
    }

    /// As [`Buckets::take`], from a bucket of this class whatever the descriptor says.
    fn take_at(
        &self,
        plugin: &str,
        class: &str,
        key: &str,
        n: u32,
        now: Instant,
        limit: LimitClass,
    ) -> Result<(), u64> {
        if limit.per_second <= 0.0 {
            return Ok(());
        }
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
        let (buckets, plugin, now) = (&self.caps.shared.buckets, &self.caps.plugin, Instant::now());
        let own = self.call.own.as_ref().and_then(|own| own.rate(&class, &key));
        Ok(match own {
            Some(own) => buckets.take_at(plugin, &class, &key, n, now, own),
            None => buckets.take(plugin, &class, &key, n, now),
        })
    }

    fn cap(&mut self, name: String) -> wasmtime::Result<Option<u64>> {
        self.enter()?;
        Ok(self.caps.shared.account.cap(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_a_users_own_counts_for_that_user_and_class_only() {
        let principal = Principal {
            user: "a".to_owned(),
            device: None,
            service: None,
            marks: Vec::new(),
            unlimited: false,
            rates: vec![
                RateOverride { class: "invites".to_owned(), per_second: 2.0, burst: 0 },
                RateOverride { class: "free".to_owned(), per_second: f64::NAN, burst: 1 },
            ],
        };
        let own = OwnRates::of(Some(&principal)).unwrap();
        assert_eq!(own.rate("invites", "a"), Some(LimitClass { per_second: 2.0, burst: 1 }));
        assert_eq!(own.rate("invites", "b"), None);
        assert_eq!(own.rate("other", "a"), None);
        let now = Instant::now();
        let slow = LimitClass { per_second: 0.001, burst: 1 };
        let buckets =
            Buckets::new([("free".to_owned(), slow), ("invites".to_owned(), slow)].into());
        let take = |class: &str, key: &str| match own.rate(class, key) {
            Some(rate) => buckets.take_at("p", class, key, 1, now, rate).is_ok(),
            None => buckets.take("p", class, key, 1, now).is_ok(),
        };
        assert!((0..5).all(|_| take("free", "a")), "no limit");
        assert!(take("free", "b") && !take("free", "b"), "others have the class's");
        assert!(OwnRates::of(Some(&Principal { rates: Vec::new(), ..principal })).is_none());
    }
}
