//! Time, as the host tells it; a test host may stand still.

use crate::backend;

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    backend::with(|host| host.now_ms())
}
