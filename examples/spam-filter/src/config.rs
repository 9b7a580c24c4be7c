//! `[plugins.spam-filter.config]` of the descriptor; `plugin.toml` has the defaults and the schema.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Config {
    /// How often one user may send the same text within the window.
    pub(crate) copies: u64,
    /// Seconds.
    window_s: u64,
    /// Characters.
    pub(crate) min_length: usize,
    /// Whether the sender is left to believe that it worked.
    pub(crate) pretend: bool,
    /// Full ids of users who may send anything.
    pub(crate) trusted: Vec<String>,
}

impl Config {
    /// Reads it.
    ///
    /// # Errors
    /// What does not fit, for the operator.
    pub(crate) fn get() -> Result<Self, String> {
        tessera_sdk::config::get()
    }

    /// The window in milliseconds.
    pub(crate) fn window_ms(&self) -> u64 {
        self.window_s.saturating_mul(1000)
    }
}
