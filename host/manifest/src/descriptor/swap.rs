//! Versions of a plug-in: another one beside the one that counts, and when it is taken back.

use std::{fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Duration, Sha256, TenantName,
    text::{Text, text_traits},
};

/// A part of a whole, written as `"5%"` or `"0.25%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u32);

impl Percent {
    /// All of it.
    pub const WHOLE: Self = Self(10_000);

    /// Ten thousandths.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// So many ten thousandths; more than all of them are all.
    #[must_use]
    pub const fn ten_thousandths(number: u32) -> Self {
        if number > Self::WHOLE.0 { Self::WHOLE } else { Self(number) }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match (rest, rest % 10) {
            (0, _) => write!(formatter, "{whole}%"),
            (_, 0) => write!(formatter, "{whole}.{}%", rest / 10),
            _ => write!(formatter, "{whole}.{rest:02}%"),
        }
    }
}

impl Text for Percent {
    const EXPECTED: &'static str = "a percentage from \"0%\" to \"100%\", such as \"2.5%\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let number = text.trim().strip_suffix('%').ok_or("has no %")?.trim();
        let (whole, rest) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(rest) || number.ends_with('.') {
            return Err("is no number with %".to_owned());
        }
        if rest.len() > 2 {
            return Err("has more than two digits behind the point".to_owned());
        }
        let part = format!("{whole}{rest:0<2}").parse().ok().filter(|part| *part <= 10_000);
        part.map(Self).ok_or_else(|| "is more than all".to_owned())
    }
}

text_traits!(Percent, pattern "^ *[0-9]{1,3}([.][0-9]{1,2})? *%$");

/// `[plugins.NAME.swap]`: when a new version is taken back by itself.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Swap {
    /// More of its calls must not go wrong: trap, take too long, or be answered with a status from 500.
    pub max_errors: Percent,
    /// The time in which 99 of 100 of its calls end, as a multiple of the same time of the version before; times up to 5 ms
    /// are never too long.
    pub max_p99_ratio: f64,
    /// How long it is watched.
    pub watch: Duration,
}

impl Default for Swap {
    fn default() -> Self {
        Self {
            max_errors: Percent::ten_thousandths(200),
            max_p99_ratio: 3.0,
            watch: Duration::secs(60),
        }
    }
}

/// `[plugins.NAME.canary]`: a version that gets a part of the calls.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Canary {
    /// The file, relative to the plug-ins folder.
    pub source: PathBuf,
    /// Digest of the file; another file is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// Its part of the calls.
    #[serde(default = "whole")]
    pub share: Percent,
    /// Only for these tenants; none: for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<TenantName>,
}

fn whole() -> Percent {
    Percent::WHOLE
}

/// `[plugins.NAME.shadow]`: a version whose answers are only compared.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Shadow {
    /// The file, relative to the plug-ins folder.
    pub source: PathBuf,
    /// Digest of the file; another file is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// Functions of services and hooks (`interface` or `interface.function`) that it is asked, too; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
}

/// `[plugins.NAME.before]`: what `tessera plugin rollback` goes back to; kept by `tessera plugin swap`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Before {
    /// The file, relative to the plug-ins folder; absent: what holds without the swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// Digest of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
}

#[cfg(test)]
mod tests {
    use super::Percent;

    #[test]
    fn a_percentage_is_read_and_written() {
        for (text, parts, again) in [
            ("5%", 500, "5%"),
            ("0.25%", 25, "0.25%"),
            ("2.5 %", 250, "2.5%"),
            ("100%", 10_000, "100%"),
            ("0%", 0, "0%"),
            ("1.05%", 105, "1.05%"),
        ] {
            let percent: Percent = text.parse().unwrap();
            assert_eq!((percent.get(), percent.to_string().as_str()), (parts, again));
        }
        for text in ["", "5", "%", "-1%", "101%", "1.%", "0.001%", "x%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }
}
