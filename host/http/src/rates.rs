//! Rate classes: a bucket of tokens for each user or address.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tessera_manifest::{Rate, RateBy};

/// Locks; a power of two.
const SHARDS: usize = 16;

/// Buckets that are not full, over all classes: 32 bytes each. Where more are in use, the newcomer's bucket
/// is not remembered, so a flood of addresses costs no memory.
const BUCKETS: usize = 1 << 20;

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
        // A token each ten days is the slowest that makes sense, and keeps the arithmetic finite.
        let interval = Duration::from_secs_f64((1.0 / rate.per_second).min(864_000.0));
        let depth = interval.saturating_mul(rate.burst.get());
        Some(Self { name: name.into(), by: rate.by, interval, depth })
    }
}

/// Whose bucket.
pub(crate) enum Holder<'a> {
    User(&'a str),
    Address(IpAddr),
}

/// All buckets. A bucket is one number: when it will be full again (GCRA), so a full one need not be kept.
pub(crate) struct Buckets {
    seed: RandomState,
    start: Instant,
    shards: Vec<Mutex<HashMap<u64, Duration>>>,
}

impl Buckets {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect();
        Self { seed: RandomState::new(), start: Instant::now(), shards }
    }

    /// Takes one token. The error is the time until there is one.
    pub(crate) fn take(
        &self,
        tenant: &str,
        class: &RateClass,
        holder: &Holder<'_>,
    ) -> Result<(), Duration> {
        self.take_at(tenant, class, holder, self.start.elapsed())
    }

    fn take_at(
        &self,
        tenant: &str,
        class: &RateClass,
        holder: &Holder<'_>,
        now: Duration,
    ) -> Result<(), Duration> {
        let key = match holder {
            Holder::User(user) => self.seed.hash_one((tenant, &class.name, user)),
            Holder::Address(address) => {
                self.seed.hash_one((tenant, &class.name, network(*address)))
            }
        };
        let Some(shard) = self.shards.get((key >> 32) as usize % SHARDS) else { return Ok(()) };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = shard.get(&key).copied().unwrap_or(now).max(now);
        let after = full_at.saturating_add(class.interval);
        let over = after.saturating_sub(now).saturating_sub(class.depth);
        if !over.is_zero() {
            return Err(over);
        }
        if shard.len() >= BUCKETS / SHARDS && !shard.contains_key(&key) {
            shard.retain(|_, full_at| *full_at > now);
            if shard.len() >= BUCKETS / SHARDS {
                return Ok(());
            }
        }
        shard.insert(key, after);
        Ok(())
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

    use super::{Buckets, Holder, RateClass};

    fn class(per_second: f64, burst: u32) -> Option<RateClass> {
        let burst = NonZeroU32::new(burst).unwrap();
        RateClass::new("class", &Rate { per_second, burst, by: RateBy::User })
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (buckets, class) = (Buckets::new(), class(2.0, 3).unwrap());
        let take =
            |user, ms| buckets.take_at("t", &class, &Holder::User(user), Duration::from_millis(ms));
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
        let (buckets, class) = (Buckets::new(), class(0.001, 1).unwrap());
        let take =
            |address: &str| buckets.take("t", &class, &Holder::Address(address.parse().unwrap()));
        assert!(take("2001:db8::1").is_ok());
        assert!(take("2001:db8::2").is_err());
        assert!(take("2001:db8:0:1::1").is_ok());
        assert!(take("192.0.2.1").is_ok());
        assert!(take("::ffff:192.0.2.1").is_err());
    }

    #[test]
    fn a_class_of_rate_zero_is_off() {
        assert_eq!(class(0.0, 1), None);
        assert_eq!(class(f64::NAN, 1), None);
    }
}
