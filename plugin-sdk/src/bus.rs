//! Wake-ups: best effort, without data.

use crate::backend;

/// A subscription taken with [`watch`].
pub type WatchId = crate::bindings::host::bus::WatchId;

/// Subscribes to topics. Take it before looking at the database.
pub fn watch(topics: &[String]) -> WatchId {
    backend::with(|host| host.watch(topics))
}

/// Wakes whoever watches these topics, where there is no commit to do it.
pub fn notify(topics: &[String]) {
    backend::with(|host| host.notify(topics));
}
