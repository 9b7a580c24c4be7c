//! Bytes that instances of one plug-in share within a process. May be empty at any time.

use crate::backend;

/// What was put under `key`, if it is still there.
pub fn get(key: &str) -> Option<Vec<u8>> {
    backend::with(|host| host.cache_get(key))
}

/// Keeps `value` until `ttl_ms` has passed or one of `topics` wakes.
pub fn put(key: &str, value: &[u8], ttl_ms: u32, topics: &[String]) {
    backend::with(|host| host.cache_put(key, value, ttl_ms, topics));
}

/// Forgets `key`.
pub fn remove(key: &str) {
    backend::with(|host| host.cache_remove(key));
}
