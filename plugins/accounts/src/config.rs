//! `[plugins.accounts.config]`.

use serde::Deserialize;
use tessera_sdk::matrix::Error;

/// Who may register.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registration {
    /// Anybody.
    #[default]
    Open,
    /// Nobody.
    Closed,
    /// Who knows the shared secret, through the admin endpoint.
    SharedSecret,
}

/// The section; defaults stand in `plugin.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Who may register.
    #[serde(default)]
    pub registration: Registration,
    /// Secret of the admin registration endpoint; without it there is none.
    #[serde(default)]
    pub shared_secret: Option<String>,
    /// Base URL told by `/.well-known/matrix/client`.
    #[serde(default)]
    pub base_url: Option<String>,
    /// How long an access token that can be refreshed lives.
    #[serde(default = "an_hour")]
    pub access_token_lifetime_ms: u64,
    /// Told by `/capabilities`.
    #[serde(default = "version_12")]
    pub default_room_version: String,
}

fn an_hour() -> u64 {
    3_600_000
}

fn version_12() -> String {
    "12".to_owned()
}

/// Reads the section.
///
/// # Errors
/// `M_UNKNOWN`; cannot happen after the life cycle's start has checked it.
pub fn get() -> Result<Config, Error> {
    tessera_sdk::config::get().map_err(Error::internal)
}
