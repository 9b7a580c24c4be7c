//! The plug-in's own section of the descriptor.

use serde::de::DeserializeOwned;

use crate::backend;

/// Reads `[plugins.NAME.config]`. Missing keys take their serde defaults.
///
/// # Errors
/// What does not fit, for the operator to read.
pub fn get<T: DeserializeOwned>() -> Result<T, String> {
    let text = backend::with(|host| host.config());
    serde_json::from_str(&text).map_err(|error| format!("configuration: {error}"))
}
