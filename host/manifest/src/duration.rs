//! Stretches of time.

use std::fmt;

use crate::text::{Text, text_traits};

/// A stretch of time, written as a whole number and a unit: `"50ms"`, `"30s"`, `"5m"`, `"1h"`, `"1d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

impl Duration {
    /// So many milliseconds.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    /// So many seconds.
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        Self(std::time::Duration::from_secs(secs))
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let whole = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
            .into_iter()
            .find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit));
        match whole {
            Some((name, unit)) => write!(formatter, "{}{name}", millis / unit),
            None => write!(formatter, "{millis}ms"),
        }
    }
}

impl Text for Duration {
    const EXPECTED: &'static str = "a time such as \"30s\" (units: ms, s, m, h, d)";

    fn from_text(text: &str) -> Result<Self, String> {
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), unit)))
            .ok_or("has no unit")?;
        let number: u64 = number.parse().map_err(|_| "has no whole number before its unit")?;
        number.checked_mul(*unit).map(Self::millis).ok_or_else(|| "is too long".into())
    }
}

text_traits!(Duration, pattern "^[0-9]+ *(ms|s|m|h|d)$");

#[cfg(test)]
mod tests {
    use super::Duration;

    #[test]
    fn every_unit_is_read_and_written() {
        for (text, millis, again) in [
            ("50ms", 50, "50ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "90s"),
            ("5 m", 300_000, "5m"),
            ("24h", 86_400_000, "1d"),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.get().as_millis(), millis);
            assert_eq!(duration.to_string(), again);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "30", "s", "1.5s", "-1s", "1 week"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}
