//! Topics of wake-ups, as 64-bit hashes.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A wake-up topic of one tenant, hashed.
///
/// The hash is seeded, so nobody outside can make two topics meet; where two meet by chance the cost is one
/// needless wake-up. Nodes of a cluster share the seed, so that a hash means the same to all of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Topic(u64);

impl Topic {
    pub(crate) fn of(seed: Seed, tenant: &str, name: &str) -> Self {
        Self(seed.hash(&[tenant, name]))
    }

    /// What stands for everything of a tenant. The control character keeps it apart from what plug-ins name.
    pub(crate) fn whole(seed: Seed, tenant: &str) -> Self {
        Self::of(seed, tenant, "\u{1}all")
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The hash itself, for another node with the same seed.
    pub fn bits(self) -> u64 {
        self.0
    }
}

/// Key of the hash.
#[derive(Clone, Copy)]
pub(crate) struct Seed(u64, u64);

impl Seed {
    /// Of this process only.
    pub(crate) fn random() -> Self {
        let random = RandomState::new();
        Self(random.hash_one(1_u8), random.hash_one(2_u8))
    }

    pub(crate) const fn of(key: [u8; 16]) -> Self {
        let key = u128::from_le_bytes(key);
        Self(key as u64, (key >> 64) as u64)
    }

    /// The same in every process and version: nodes compare these.
    #[expect(deprecated, reason = "the one hasher of std whose algorithm (SipHash 2-4) is fixed")]
    pub(crate) fn hash(self, parts: &[&str]) -> u64 {
        let mut hasher = std::hash::SipHasher::new_with_keys(self.0, self.1);
        for part in parts {
            hasher.write(part.as_bytes());
            // Never part of UTF-8: parts cannot run into one another.
            hasher.write(&[0xff]);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Seed, Topic};

    #[test]
    fn the_hash_never_changes_between_versions() {
        let seed = Seed::of(*b"0123456789abcdef");
        // SipHash 2-4, computed by another implementation.
        assert_eq!(Topic::of(seed, "example.org", "room:a").bits(), 0xad24_80d7_1f24_6d6d);
    }
}
