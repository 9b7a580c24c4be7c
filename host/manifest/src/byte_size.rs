//! Sizes in bytes.

use std::fmt;

use crate::text::{Text, text_traits};

/// A size, written as a number and a unit: `"64KiB"`, `"10MB"`, `"512B"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// A size of so many bytes.
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size of so many KiB.
    #[must_use]
    pub const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// A size of so many MiB.
    #[must_use]
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// In bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// In bytes, at most `usize::MAX`.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit that gives a whole number.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(name, unit)| {
            name.len() != 2 && self.0 >= *unit && self.0.is_multiple_of(*unit)
        });
        match whole {
            Some((name, unit)) => write!(formatter, "{}{name}", self.0 / unit),
            None => write!(formatter, "{}B", self.0),
        }
    }
}

impl Text for ByteSize {
    const EXPECTED: &'static str = "a size such as \"64KiB\" (units: B, KB, KiB, MB, MiB, GB, GiB)";

    fn from_text(text: &str) -> Result<Self, String> {
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), unit)))
            .ok_or("has no unit")?;
        let number: u64 = number.parse().map_err(|_| "has no whole number before its unit")?;
        number.checked_mul(*unit).map(Self).ok_or_else(|| "is too large".into())
    }
}

text_traits!(ByteSize, pattern "^[0-9]+ *(B|KB|KiB|MB|MiB|GB|GiB)$");

#[cfg(test)]
mod tests {
    use super::ByteSize;

    #[test]
    fn every_unit_is_read_and_written() {
        for (text, bytes, again) in [
            ("64KiB", 65_536, "64KiB"),
            ("1 GiB", 1 << 30, "1GiB"),
            ("1KB", 1_000, "1000B"),
            ("0B", 0, "0B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.get(), bytes);
            assert_eq!(size.to_string(), again);
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "64", "KiB", "1.5MiB", "-1B", "99999999999GiB", "64kib"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
