//! The plug-in's section of the descriptor.

use serde::Deserialize;
use tessera_sdk::config;

/// Whom a search for users finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Users {
    /// Those who share a room with the searcher or are in a public one.
    Shared,
    /// Every user of this server.
    All,
    /// Nobody.
    Off,
}

/// `[plugins.directory.config]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Whether there is a public list.
    pub(crate) public_rooms: bool,
    /// Whether it is shown to people without an account.
    pub(crate) public_rooms_without_login: bool,
    /// Whom a search for users finds.
    pub(crate) user_directory: Users,
}

impl Default for Settings {
    fn default() -> Self {
        Self { public_rooms: true, public_rooms_without_login: true, user_directory: Users::Shared }
    }
}

impl Settings {
    /// Reads the section.
    ///
    /// # Errors
    /// What does not fit, for the operator to read.
    pub(crate) fn read() -> Result<Self, String> {
        config::get()
    }

    /// The section as it was checked at the start, else the defaults.
    pub(crate) fn get() -> Self {
        Self::read().unwrap_or_default()
    }
}
