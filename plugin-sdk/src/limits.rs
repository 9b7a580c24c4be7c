//! Counts that the edge cannot make by itself.

use crate::backend;

/// Takes `n` from the bucket of `key` in a class of the descriptor.
///
/// # Errors
/// Milliseconds to wait.
pub fn take(class: &str, key: &str, n: u32) -> Result<(), u64> {
    backend::with(|host| host.limit_take(class, key, n))
}

/// How many of something the tenant may have, by a name of the descriptor's `[quotas.counts]` such as `users`; the
/// plug-in counts. None: as many as it likes.
pub fn cap(name: &str) -> Option<u64> {
    backend::with(|host| host.limit_cap(name))
}
