//! Calls at a later time; they survive a restart.

use crate::backend;

/// Sets the timer of this name. `due_ms`: milliseconds since the Unix epoch.
///
/// # Errors
/// The host's reason, such as too many timers.
pub fn set(name: &str, due_ms: u64, payload: &str) -> Result<(), String> {
    backend::with(|host| host.timer_set(name, due_ms, payload))
}

/// Takes a timer back. No error if there is none.
///
/// # Errors
/// The host's reason.
pub fn cancel(name: &str) -> Result<(), String> {
    backend::with(|host| host.timer_cancel(name))
}
