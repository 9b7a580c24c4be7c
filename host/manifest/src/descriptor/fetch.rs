//! HTTP to the outside.

use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, text::foreign};

/// `[fetch]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Fetch {
    /// Address ranges that are refused, after DNS: private, loopback, link-local, shared,
    /// documentation, multicast and reserved ones by default.
    #[serde(deserialize_with = "foreign::list")]
    #[schemars(with = "Vec<String>")]
    pub deny: Vec<IpNet>,
    /// Address ranges that are let through although `deny` holds them.
    #[serde(deserialize_with = "foreign::list")]
    #[schemars(with = "Vec<String>")]
    pub allow: Vec<IpNet>,
    /// PEM file of certificate authorities trusted beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Certificates are not checked. For tests only.
    pub insecure: bool,
    /// How long a connection may take to stand.
    pub connect_timeout: Duration,
}

/// Ranges that lead inside or nowhere (RFC 6890 and its updates).
const DENIED: [&str; 23] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "64:ff9b:1::/48",
    "100::/64",
    "2001:db8::/32",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

impl Default for Fetch {
    fn default() -> Self {
        Self {
            deny: DENIED.iter().filter_map(|range| range.parse().ok()).collect(),
            allow: Vec::new(),
            ca_file: None,
            insecure: false,
            connect_timeout: Duration::secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DENIED, Fetch};

    #[test]
    fn every_denied_range_is_one() {
        assert_eq!(Fetch::default().deny.len(), DENIED.len());
    }
}
