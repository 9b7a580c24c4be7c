//! The plug-in's section of the descriptor.

use serde::Deserialize;
use tessera_sdk::config;

/// `[plugins.rooms.config]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The version of new rooms.
    pub default_room_version: String,
    /// How long a transaction id is remembered, in hours.
    pub transaction_hours: u32,
    /// Identity servers through which users may invite; `*`: any; with `http://` before it: without TLS.
    pub identity_servers: Vec<String>,
    /// The longest delay of a delayed event, in hours; 0: there are none.
    pub max_delay_hours: u32,
    /// Delayed events of one user that may wait.
    pub max_delayed_events: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_room_version: "12".to_owned(),
            transaction_hours: 48,
            identity_servers: Vec::new(),
            max_delay_hours: 24,
            max_delayed_events: 100,
        }
    }
}

impl Settings {
    /// Reads the section.
    ///
    /// # Errors
    /// What does not fit, for the operator to read.
    pub fn read() -> Result<Self, String> {
        let settings: Self = config::get()?;
        if crate::core::Version::named(&settings.default_room_version).is_none() {
            return Err(format!(
                "configuration: default-room-version {:?} is not supported; it may be 1 to 12",
                settings.default_room_version
            ));
        }
        Ok(settings)
    }

    /// The section as it was checked at the start, else the defaults.
    pub fn get() -> Self {
        Self::read().unwrap_or_default()
    }
}
