//! Rate classes: a bucket of tokens for each user or address of a tenant; and the tenant's own, for its quota.
//!
//! Where several nodes live each gives its part of the rate, and of what may come at once, so that all give the whole.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tessera_manifest::{Rate, RateBy};

use crate::share::{Part, Pool};

/// Locks of a tenant; a power of two.
const SHARDS: usize = 16;

/// Buckets that are not full, over all classes and tenants: 32 bytes each. Where more are in use, the newcomer's
/// bucket is not remembered, so a flood of addresses costs no memory.
pub(crate) const BUCKETS: usize = 1 << 20;

/// How often buckets that are full again are looked for where there is no room: it takes a while.
const SWEEP: Duration = Duration::from_secs(1);

/// The slowest rate that makes sense is a token each ten days; it keeps the arithmetic finite.
const SLOWEST: f64 = 864_000.0;

/// A class of the descriptor, ready for use.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RateClass {
    name: Box<str>,
    pub(crate) by: RateBy,
    /// Time for one token to come back.
    interval: Duration,
    /// What a full bucket holds, in time.
    depth: Duration,
}

impl RateClass {
    /// None where the class is switched off.
    pub(crate) fn new(name: &str, rate: &Rate) -> Option<Self> {
        if !rate.per_second.is_finite() || rate.per_second <= 0.0 {
            return None;
        }
        let interval = interval(rate.per_second);
        let depth = interval.saturating_mul(rate.burst.get());
        Some(Self { name: name.into(), by: rate.by, interval, depth })
    }

    /// As in the descriptor.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The class at a rate of a user's own; none: no limit.
    pub(crate) fn at(&self, per_second: f64, burst: u32) -> Option<Self> {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        Self::new(&self.name, &Rate { per_second, burst, by: self.by })
    }
}

fn interval(per_second: f64) -> Duration {
    Duration::from_secs_f64((1.0 / per_second).clamp(0.0, SLOWEST))
}

/// Takes a token of a bucket that is full again at `full_at` (GCRA). Gives its new value, or the time until there is
/// a token.
///
/// The depth in time is the same on every node: a part of the tokens, each worth as many times the time. It is never
/// less than one token.
fn take(
    full_at: Duration,
    now: Duration,
    interval: Duration,
    depth: Duration,
    nodes: u32,
) -> Result<Duration, Duration> {
    let interval = interval.saturating_mul(nodes.max(1));
    let after = full_at.max(now).saturating_add(interval);
    let over = after.saturating_sub(now).saturating_sub(depth.max(interval));
    if over.is_zero() { Ok(after) } else { Err(over) }
}

/// Whose bucket.
pub(crate) enum Holder<'a> {
    User(&'a str),
    Address(IpAddr),
}

/// All buckets of a tenant. A bucket is one number: when it will be full again, so a full one need not be kept.
pub(crate) struct Buckets {
    seed: RandomState,
    start: Instant,
    pool: Arc<Pool>,
    part: Part,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    buckets: HashMap<u64, Duration>,
    swept: Duration,
}

impl Buckets {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        let (seed, start) = (RandomState::new(), Instant::now());
        Self { seed, start, pool, part: Part::default(), shards: Default::default() }
    }

    /// Takes one token. The error is the time until there is one.
    pub(crate) fn take(
        &self,
        class: &RateClass,
        holder: &Holder<'_>,
        nodes: u32,
    ) -> Result<(), Duration> {
        self.take_at(class, holder, nodes, self.start.elapsed())
    }

    fn take_at(
        &self,
        class: &RateClass,
        holder: &Holder<'_>,
        nodes: u32,
        now: Duration,
    ) -> Result<(), Duration> {
        let key = match holder {
            Holder::User(user) => self.seed.hash_one((&class.name, user)),
            Holder::Address(address) => self.seed.hash_one((&class.name, network(*address))),
        };
        let Some(shard) = self.shards.get((key >> 32) as usize % SHARDS) else { return Ok(()) };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = shard.buckets.get_mut(&key) {
            *full_at = take(*full_at, now, class.interval, class.depth, nodes)?;
            return Ok(());
        }
        let full_at = take(now, now, class.interval, class.depth, nodes)?;
        if !self.pool.enter(&self.part) {
            if now.saturating_sub(shard.swept) < SWEEP {
                return Ok(());
            }
            shard.swept = now;
            let before = shard.buckets.len();
            shard.buckets.retain(|_, full_at| *full_at > now);
            self.pool.leave(&self.part, before - shard.buckets.len());
            if !self.pool.enter(&self.part) {
                return Ok(());
            }
        }
        shard.buckets.insert(key, full_at);
        Ok(())
    }
}

impl Drop for Buckets {
    fn drop(&mut self) {
        for shard in &mut self.shards {
            let shard = shard.get_mut().unwrap_or_else(PoisonError::into_inner);
            self.pool.leave(&self.part, shard.buckets.len());
        }
    }
}

/// A tenant's `requests-per-second`.
pub(crate) struct Quota {
    start: Instant,
    /// When its bucket is full again, in nanoseconds since `start`.
    full_at: AtomicU64,
}

/// What may come at once, in seconds of the rate.
const AT_ONCE: Duration = Duration::from_secs(2);

impl Quota {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), full_at: AtomicU64::new(0) }
    }

    /// Takes one request. The error is the time until there is one.
    pub(crate) fn take(&self, per_second: f64, nodes: u32) -> Result<(), Duration> {
        self.take_at(per_second, nodes, self.start.elapsed())
    }

    fn take_at(&self, per_second: f64, nodes: u32, now: Duration) -> Result<(), Duration> {
        // NaN and what is below zero is as good as nothing at all.
        let interval = interval(if per_second > 0.0 { per_second } else { 0.0 });
        let mut seen = self.full_at.load(Ordering::Acquire);
        loop {
            let full_at = take(Duration::from_nanos(seen), now, interval, AT_ONCE, nodes)?;
            let full_at = u64::try_from(full_at.as_nanos()).unwrap_or(u64::MAX);
            let swap =
                self.full_at.compare_exchange(seen, full_at, Ordering::AcqRel, Ordering::Acquire);
            match swap {
                Ok(_) => return Ok(()),
                Err(other) => seen = other,
            }
        }
    }
}

/// One household or machine: an IPv4 address, or the /64 of an IPv6 one, of which anyone has 2^64.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use tessera_manifest::{Rate, RateBy};

    use super::{Buckets, Holder, Quota, RateClass};
    use crate::share::Pool;

    fn class(per_second: f64, burst: u32) -> Option<RateClass> {
        let burst = NonZeroU32::new(burst).unwrap();
        RateClass::new("class", &Rate { per_second, burst, by: RateBy::User })
    }

    fn buckets() -> Buckets {
        Buckets::new(Pool::new(100, std::sync::Arc::new(|| true)))
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (buckets, class) = (buckets(), class(2.0, 3).unwrap());
        let take =
            |user, ms| buckets.take_at(&class, &Holder::User(user), 1, Duration::from_millis(ms));
        for _ in 0..3 {
            assert_eq!(take("a", 1_000), Ok(()));
        }
        assert_eq!(take("a", 1_000), Err(Duration::from_millis(500)));
        assert_eq!(take("b", 1_000), Ok(()), "another has a bucket of their own");
        assert_eq!(take("a", 1_400), Err(Duration::from_millis(100)), "a refusal takes nothing");
        assert_eq!(take("a", 1_500), Ok(()));
        assert!(take("a", 1_500).is_err());
        assert_eq!(take("a", 60_000), Ok(()));
    }

    #[test]
    fn neighbours_in_one_ipv6_network_share_a_bucket() {
        let (buckets, class) = (buckets(), class(0.001, 1).unwrap());
        let take =
            |address: &str| buckets.take(&class, &Holder::Address(address.parse().unwrap()), 1);
        assert!(take("2001:db8::1").is_ok());
        assert!(take("2001:db8::2").is_err());
        assert!(take("2001:db8:0:1::1").is_ok());
        assert!(take("192.0.2.1").is_ok());
        assert!(take("::ffff:192.0.2.1").is_err());
    }

    #[test]
    fn a_user_with_a_rate_of_their_own_has_the_same_bucket_at_that_rate() {
        let (buckets, class) = (buckets(), class(1.0, 1).unwrap());
        let own = class.at(1.0, 3).unwrap();
        let take = |class: &RateClass| {
            buckets.take_at(class, &Holder::User("a"), 1, Duration::from_secs(9))
        };
        assert!(take(&class).is_ok() && take(&class).is_err());
        assert!(take(&own).is_ok() && take(&own).is_ok() && take(&own).is_err());
        assert_eq!(class.at(0.0, 1), None, "no limit");
        assert!(class.at(1.0, 0).is_some(), "at least one at once");
    }

    #[test]
    fn a_class_of_rate_zero_is_off() {
        assert_eq!(class(0.0, 1), None);
        assert_eq!(class(f64::NAN, 1), None);
    }

    #[test]
    fn each_node_gives_its_part_of_a_class() {
        let (buckets, class) = (buckets(), class(2.0, 6).unwrap());
        let take = |user, nodes, ms| {
            buckets.take_at(&class, &Holder::User(user), nodes, Duration::from_millis(ms))
        };
        let at_once = |user, nodes| (0..10).filter(|_| take(user, nodes, 1_000).is_ok()).count();
        assert_eq!(at_once("a", 1), 6);
        assert_eq!(at_once("b", 3), 2);
        assert_eq!(take("b", 3, 1_000), Err(Duration::from_millis(1_500)));
        assert_eq!(at_once("c", 100), 1, "never none at all");
    }

    #[test]
    fn buckets_beyond_the_share_are_not_remembered_until_others_are_full_again() {
        let pool = Pool::new(2, std::sync::Arc::new(|| true));
        let (buckets, class) = (Buckets::new(pool.clone()), class(1.0, 1).unwrap());
        let take = |user: &str, ms| {
            buckets.take_at(&class, &Holder::User(user), 1, Duration::from_millis(ms))
        };
        let users = ["a", "b", "c", "d", "e", "f", "g", "h"];
        for user in users {
            assert_eq!(take(user, 10_000), Ok(()));
        }
        let again = users.into_iter().filter(|user| take(user, 10_000).is_ok()).count();
        assert_eq!(again, users.len() - 2);
        // All are full again; each shard finds out when it needs room.
        let of_one_shard = (0..).map(|n: u32| n.to_string());
        let mut refused = 0;
        for user in of_one_shard.take(1_000) {
            assert_eq!(take(&user, 20_000), Ok(()));
            refused += usize::from(take(&user, 20_000).is_err());
        }
        assert!(refused > 0, "a bucket was remembered again");
        drop(buckets);
        let whole = Buckets::new(pool);
        assert!(whole.pool.enter(&whole.part) && whole.pool.enter(&whole.part), "all came back");
        whole.pool.leave(&whole.part, 2);
    }

    #[test]
    fn a_quota_lets_twice_as_many_come_at_once_and_divides_by_nodes() {
        let at_once = |per_second, nodes| {
            let quota = Quota::new();
            (0..1_000)
                .filter(|_| quota.take_at(per_second, nodes, Duration::from_secs(1)).is_ok())
                .count()
        };
        assert_eq!(at_once(50.0, 1), 100);
        assert_eq!(at_once(50.0, 5), 20);
        assert_eq!(at_once(0.1, 1), 1);
        assert_eq!(at_once(50.0, 1_000), 1);
        let quota = Quota::new();
        for _ in 0..100 {
            assert_eq!(quota.take_at(50.0, 1, Duration::from_secs(1)), Ok(()));
        }
        let wait = Duration::from_millis(20);
        assert_eq!(quota.take_at(50.0, 1, Duration::from_secs(1)), Err(wait));
        assert_eq!(quota.take_at(50.0, 1, Duration::from_secs(1) + wait), Ok(()));
    }

    #[test]
    fn a_quota_of_zero_lets_next_to_nothing_in() {
        let quota = Quota::new();
        for nonsense in [0.0, -1.0, f64::NAN] {
            let _ = quota.take_at(nonsense, 1, Duration::from_secs(1));
            assert!(quota.take_at(nonsense, 1, Duration::from_secs(9)).is_err());
        }
    }
}
