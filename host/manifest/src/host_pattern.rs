//! Which hosts: those that a tenant answers to, those that a plug-in may fetch from.

use std::fmt;

use crate::{
    names::{check_host, split_port},
    text::{Text, text_traits},
};

/// The host in a pattern, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// `*`: every host.
    Any,
    /// `*.example.org`: every host below the name kept here (`example.org`), not the name itself.
    Below(String),
    /// `example.org`.
    Exactly(String),
}

/// A host with or without a port: `example.org`, `*.example.org`, `example.org:8448`, `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPattern {
    /// The host part.
    pub host: Host,
    /// Without it any port fits.
    pub port: Option<u16>,
}

impl HostPattern {
    /// Whether a host (no brackets needed around IPv6) and port fit. Case does not matter.
    #[must_use]
    pub fn matches(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let fits = match &self.host {
            Host::Any => true,
            Host::Exactly(name) => {
                *name == host || name.trim_matches(['[', ']']) == host.trim_matches(['[', ']'])
            }
            Host::Below(name) => host
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        };
        fits && (self.port.is_none() || self.port == port)
    }

    /// Whether all that fits `other` fits `self`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let host = match (&self.host, &other.host) {
            (Host::Any, _) => true,
            (Host::Below(own), Host::Below(other)) if own == other => true,
            (Host::Below(_), Host::Below(other) | Host::Exactly(other)) => {
                Self { host: self.host.clone(), port: None }.matches(other, None)
            }
            (own, other) => own == other,
        };
        host && (self.port.is_none() || self.port == other.port)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => formatter.write_str("*")?,
            Host::Below(name) => write!(formatter, "*.{name}")?,
            Host::Exactly(name) => formatter.write_str(name)?,
        }
        self.port.map_or(Ok(()), |port| write!(formatter, ":{port}"))
    }
}

impl Text for HostPattern {
    const EXPECTED: &'static str =
        "a host such as \"example.org\", \"*.example.org\", \"example.org:8448\" or \"*\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let (host, port) = split_port(text)?;
        let port = port
            .map(|port| port.parse().map_err(|_| format!("has the port `{port}`, which is none")))
            .transpose()?;
        let lower = host.to_ascii_lowercase();
        let host = match lower.strip_prefix("*.") {
            _ if lower == "*" => Host::Any,
            Some(below) => {
                check_host(below)?;
                Host::Below(below.to_owned())
            }
            None => {
                check_host(&lower)?;
                Host::Exactly(lower)
            }
        };
        Ok(Self { host, port })
    }
}

text_traits!(HostPattern, pattern "^(\\*|(\\*\\.)?[A-Za-z0-9.-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$");

/// How to speak to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

impl Scheme {
    /// As in a URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Scheme and host that a plug-in may fetch from: `https://example.org`, `https://*`, `http://localhost:8025`.
/// Without a port any port fits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OriginPattern {
    /// The scheme.
    pub scheme: Scheme,
    /// Host and port.
    pub host: HostPattern,
}

impl OriginPattern {
    /// Whether a URL's scheme, host and port fit.
    #[must_use]
    pub fn matches(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        self.scheme.as_str() == scheme && self.host.matches(host, port)
    }

    /// Whether all that fits `other` fits `self`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.host.covers(&other.host)
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme.as_str(), self.host)
    }
}

impl Text for OriginPattern {
    const EXPECTED: &'static str = "scheme and host such as \"https://example.org\", \"https://*.example.org:8448\" or \"https://*\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let (scheme, host) = text.split_once("://").ok_or("has no scheme")?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => {
                return Err(format!("has the scheme `{other}`, which is neither http nor https"));
            }
        };
        if host.contains('/') {
            return Err("has a path".into());
        }
        Ok(Self { scheme, host: HostPattern::from_text(host)? })
    }
}

text_traits!(OriginPattern, pattern "^https?://[^/]+$");

#[cfg(test)]
mod tests {
    use super::{HostPattern, OriginPattern};

    #[test]
    fn a_host_fits_by_name_wildcard_and_port() {
        let fits = |pattern: &str, host: &str, port| {
            pattern.parse::<HostPattern>().unwrap().matches(host, port)
        };
        assert!(fits("example.org", "EXAMPLE.org.", Some(443)));
        assert!(fits("*.example.org", "a.example.org", None));
        assert!(!fits("*.example.org", "example.org", None));
        assert!(!fits("*.example.org", "badexample.org", None));
        assert!(fits("example.org:8448", "example.org", Some(8448)));
        assert!(!fits("example.org:8448", "example.org", Some(443)));
        assert!(fits("[::1]", "::1", None));
        assert!(fits("*", "anything", Some(1)));
    }

    #[test]
    fn a_pattern_covers_what_is_narrower() {
        let covers = |wide: &str, narrow: &str| {
            let pattern = |text: &str| text.parse::<OriginPattern>().unwrap();
            pattern(wide).covers(&pattern(narrow))
        };
        for narrow in ["https://*", "https://*.a.org", "https://a.org:8448", "https://[::1]"] {
            assert!(covers("https://*", narrow) && covers(narrow, narrow), "{narrow}");
        }
        assert!(
            covers("https://*.a.org", "https://b.a.org")
                && covers("https://*.a.org", "https://*.b.a.org")
        );
        for (wide, narrow) in [
            ("https://*", "http://a.org"),
            ("https://*.a.org", "https://a.org"),
            ("https://*.a.org", "https://*"),
            ("https://a.org", "https://*.a.org"),
            ("https://a.org:1", "https://a.org"),
            ("https://*.a.org", "https://*.ba.org"),
        ] {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
    }

    #[test]
    fn an_origin_fits_by_scheme_too() {
        let origin: OriginPattern = "https://*.example.org".parse().unwrap();
        assert!(origin.matches("https", "a.example.org", Some(443)));
        assert!(!origin.matches("http", "a.example.org", Some(80)));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "a b", "exa*mple.org", "example.org:port", "[::1", "*.*"] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
        for text in ["example.org", "ftp://example.org", "https://example.org/path", "https://"] {
            assert!(text.parse::<OriginPattern>().is_err(), "{text}");
        }
    }
}
