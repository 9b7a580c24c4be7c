//! `[plugins.thumbnails.config]`

use serde::Deserialize;

/// The caps. The manifest has the same defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    /// Pixels of a picture, or of one frame.
    pub(crate) max_pixels: u64,
    /// Pixels of all frames together.
    pub(crate) max_moving_pixels: u64,
    /// Frames.
    pub(crate) max_frames: usize,
    /// Bytes of the file.
    pub(crate) max_bytes: u64,
    /// JPEG quality, 1 to 100.
    pub(crate) quality: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_pixels: 40_000_000,
            max_moving_pixels: 20_000_000,
            max_frames: 300,
            max_bytes: 50 << 20,
            quality: 80,
        }
    }
}

pub(crate) fn get() -> Result<Config, String> {
    tessera_sdk::config::get()
}
