//! `[plugins.presence.config]`

use serde::Deserialize;
use tessera_sdk::config;
use tessera_sdk::matrix::Error;

/// What the operator says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Whether presence is told at all; typing and receipts always are.
    pub enabled: bool,
    /// Milliseconds until who is online and does nothing becomes unavailable.
    pub idle_after_ms: u64,
    /// Milliseconds more until who is unavailable goes offline.
    pub offline_after_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: true, idle_after_ms: 300_000, offline_after_ms: 1_800_000 }
    }
}

/// Reads it.
///
/// # Errors
/// It does not fit.
pub(crate) fn configured() -> Result<Config, Error> {
    config::get().map_err(Error::internal)
}
