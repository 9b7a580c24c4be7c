//! Counts that the edge cannot make by itself.

use crate::backend;

/// Takes `n` from the bucket of `key` in a class of the descriptor.
///
/// # Errors
/// Milliseconds to wait.
pub fn take(class: &str, key: &str, n: u32) -> Result<(), u64> {
    backend::with(|host| host.limit_take(class, key, n))
}
