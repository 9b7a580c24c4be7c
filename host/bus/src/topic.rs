//! Topics of wake-ups, as 64-bit hashes.

use std::hash::{BuildHasher, RandomState};

/// A wake-up topic of one tenant, hashed.
///
/// The hash is seeded for each process, so nobody outside can make two topics meet; where two meet by chance
/// the cost is one needless wake-up. It never leaves the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Topic(u64);

impl Topic {
    pub(crate) fn of(seed: &RandomState, tenant: &str, name: &str) -> Self {
        Self(seed.hash_one((tenant, name)))
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}
