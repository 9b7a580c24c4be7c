//! `[plugins.media.config]`; `plugin.toml` has the defaults and the schema.

use serde::Deserialize;
use tessera_sdk::matrix::Error;

/// The section.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Config {
    /// Bytes.
    pub(crate) max_upload: u64,
    /// Bytes; 0: no limit.
    pub(crate) max_bytes_per_user: u64,
    pub(crate) upload_limits: Vec<UploadLimit>,
    pub(crate) max_pending: u64,
    pub(crate) pending_hours: u64,
    pub(crate) freeze_unauthenticated: Freeze,
    pub(crate) limits_by_user: Vec<UserLimits>,
    /// 0: for ever.
    pub(crate) retention_local_days: u64,
    pub(crate) retention_by_room: Vec<RoomRetention>,
    pub(crate) retention_from_rooms: bool,
    pub(crate) retention_from_rooms_min_days: u64,
    pub(crate) thumbnail_sizes: Vec<ThumbnailSize>,
    pub(crate) max_thumbnails: u64,
    pub(crate) url_previews: bool,
    pub(crate) url_preview_blocklist: Vec<String>,
    pub(crate) url_preview_max_bytes: u64,
    pub(crate) url_preview_minutes: u64,
    /// Bytes of all previews.
    pub(crate) url_preview_total_bytes: u64,
    pub(crate) url_preview_language: String,
}

/// So much in such a time.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct UploadLimit {
    pub(crate) bytes: u64,
    /// Seconds.
    pub(crate) window_s: u64,
}

/// What holds for one user in place of what holds for all.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct UserLimits {
    /// Full user id.
    pub(crate) user: String,
    /// As `max-bytes-per-user`.
    pub(crate) bytes: Option<u64>,
    /// As `retention-local-days`.
    pub(crate) days: Option<u64>,
}

/// How long what a room's events name is kept, and how much of it; 0: no limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RoomRetention {
    /// `*`: each room without an entry of its own.
    pub(crate) room: String,
    #[serde(default)]
    pub(crate) days: u64,
    #[serde(default)]
    pub(crate) bytes: u64,
}

/// A size that is made of every picture.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThumbnailSize {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// `crop` or `scale`.
    pub(crate) method: String,
}

/// From when on what is uploaded is not on the open paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Freeze {
    Never,
    /// Milliseconds since the Unix epoch.
    From(u64),
}

impl Freeze {
    /// Whether what was uploaded then is on the authenticated paths only.
    pub(crate) fn holds(self, uploaded_ms: u64) -> bool {
        match self {
            Self::Never => false,
            Self::From(ms) => uploaded_ms >= ms,
        }
    }
}

impl TryFrom<String> for Freeze {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "never" => Ok(Self::Never),
            "always" => Ok(Self::From(0)),
            day => day_ms(day)
                .map(Self::From)
                .ok_or_else(|| format!("{day} is no day such as 2026-09-01")),
        }
    }
}

/// When a day of the Gregorian calendar begins, UTC. The arithmetic is Howard Hinnant's `days_from_civil`.
fn day_ms(text: &str) -> Option<u64> {
    let mut parts = text.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    u64::try_from(days).ok()?.checked_mul(86_400_000)
}

/// Reads it.
///
/// # Errors
/// What does not fit, for the operator.
pub(crate) fn get() -> Result<Config, String> {
    tessera_sdk::config::get()
}

/// As [`get`], where a request is answered.
pub(crate) fn checked() -> Result<Config, Error> {
    get().map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freeze_begins_with_its_day() {
        let freeze = |text: &str| Freeze::try_from(text.to_owned());
        assert_eq!(freeze("1970-01-02"), Ok(Freeze::From(86_400_000)));
        assert_eq!(freeze("2024-02-29"), Ok(Freeze::From(1_709_164_800_000)));
        assert_eq!(freeze("2026-11-23"), Ok(Freeze::From(1_795_392_000_000)));
        assert!(freeze("2024-13-01").is_err() && freeze("tomorrow").is_err());
        assert!(freeze("always").unwrap().holds(0) && !freeze("never").unwrap().holds(u64::MAX));
    }
}
