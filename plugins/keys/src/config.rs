//! `[plugins.keys.config]`.

use serde::Deserialize;
use tessera_sdk::matrix::Error;

/// The section; defaults stand in `plugin.toml`, too.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Messages that wait for one device.
    pub(crate) to_device_queue: u64,
    /// Room keys in all backups of one user.
    pub(crate) backup_keys: u64,
    /// Their bytes.
    pub(crate) backup_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { to_device_queue: 10_000, backup_keys: 200_000, backup_bytes: 128 << 20 }
    }
}

/// # Errors
/// 500 for a section that does not fit.
pub(crate) fn get() -> Result<Config, Error> {
    tessera_sdk::config::get().map_err(Error::internal)
}
