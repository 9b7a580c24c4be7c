//! Addresses to listen on.

use std::{fmt, net::SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::{self, Text, text_traits};

/// An address to listen on: `"127.0.0.1:8008"`, `"[::]:8008"`. Port 0 takes a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenAddr(SocketAddr);

impl ListenAddr {
    /// Listens on this address.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn get(self) -> SocketAddr {
        self.0
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Text for ListenAddr {
    const EXPECTED: &'static str =
        "an IP address and a port such as \"127.0.0.1:8008\" or \"[::]:8008\"";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "is no address to listen on".into())
    }
}

text_traits!(ListenAddr, pattern "^(\\[[0-9A-Fa-f:.]+\\]|[0-9.]+):[0-9]{1,5}$");

/// Something that can be switched off by the word `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrOff<T> {
    /// Not wanted.
    Off,
    /// Wanted so.
    On(T),
}

impl<T> OrOff<T> {
    /// What is wanted, if it is.
    pub fn on(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::On(value) => Some(value),
        }
    }
}

impl Text for OrOff<ListenAddr> {
    const EXPECTED: &'static str =
        "an IP address and a port such as \"127.0.0.1:9008\", or \"off\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "off" { Ok(Self::Off) } else { ListenAddr::from_text(text).map(Self::On) }
    }
}

impl std::str::FromStr for OrOff<ListenAddr> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_text(text).map_err(|why| text::complaint::<Self>(text, &why))
    }
}

impl<'de> Deserialize<'de> for OrOff<ListenAddr> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        text::deserialize(from)
    }
}

impl<T: fmt::Display> Serialize for OrOff<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => to.serialize_str("off"),
            Self::On(value) => to.collect_str(value),
        }
    }
}

impl JsonSchema for OrOff<ListenAddr> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ListenAddrOrOff".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": <Self as Text>::EXPECTED })
    }
}
