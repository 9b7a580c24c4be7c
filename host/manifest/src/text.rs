//! Types that are written as one TOML string and checked when they are read.

use std::{fmt, marker::PhantomData};

use serde::{Deserializer, de};

/// A type with one spelling in TOML.
pub(crate) trait Text: Sized {
    /// What is expected, for messages: "a size such as \"64KiB\"".
    const EXPECTED: &'static str;

    /// Reads the spelling; the error says what is wrong with it, without repeating [`Text::EXPECTED`].
    fn from_text(text: &str) -> Result<Self, String>;
}

/// The whole sentence about a spelling that is wrong.
pub(crate) fn complaint<T: Text>(text: &str, why: &str) -> String {
    format!("`{text}` {why}; expected {}", T::EXPECTED)
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: Text> de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(|why| E::custom(complaint::<T>(text, &why)))
    }
}

/// Reads a [`Text`] from any format.
pub(crate) fn deserialize<'de, T: Text, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_str(TextVisitor(PhantomData))
}

/// Gives a [`Text`] type its string traits: `FromStr`, `TryFrom<&str>`, serde and the JSON schema.
macro_rules! text_traits {
    ($type:ident, pattern $pattern:expr) => {
        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                <Self as crate::text::Text>::from_text(text)
                    .map_err(|why| crate::text::complaint::<Self>(text, &why))
            }
        }

        impl TryFrom<&str> for $type {
            type Error = String;

            fn try_from(text: &str) -> Result<Self, String> {
                text.parse()
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                crate::text::deserialize(from)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "description": <Self as crate::text::Text>::EXPECTED,
                    "pattern": $pattern,
                })
            }
        }
    };
}

/// A checked string: the struct, its accessors and [`text_traits`].
macro_rules! text_type {
    ($(#[$doc:meta])* $type:ident, expected $expected:literal, pattern $pattern:literal, check $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(std::sync::Arc<str>);

        impl $type {
            /// The text as written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&*self.0, formatter)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl crate::text::Text for $type {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Result<Self, String> {
                let check: fn(&str) -> Result<(), String> = $check;
                check(text)?;
                Ok(Self(text.into()))
            }
        }

        crate::text::text_traits!($type, pattern $pattern);
    };
}

pub(crate) use {text_traits, text_type};

/// Types of other crates that are written as one string, for `#[serde(with = …)]`.
pub(crate) mod foreign {
    use ipnet::IpNet;
    use semver::Version;
    use serde::{Deserialize, Deserializer};

    use super::Text;

    impl Text for Version {
        const EXPECTED: &'static str = "a version with three numbers such as \"1.2.3\"";

        fn from_text(text: &str) -> Result<Self, String> {
            text.parse().map_err(|_| "is no version".into())
        }
    }

    impl Text for IpNet {
        const EXPECTED: &'static str =
            "an address range such as \"10.0.0.0/8\", \"fc00::/7\" or \"127.0.0.1/32\"";

        fn from_text(text: &str) -> Result<Self, String> {
            text.parse().map_err(|_| "is no address range".into())
        }
    }

    /// Reads one.
    pub(crate) fn one<'de, T: Text, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        super::deserialize(from)
    }

    /// Reads a list.
    pub(crate) fn list<'de, T: Text, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
        struct Entry<T>(T);

        impl<'de, T: Text> Deserialize<'de> for Entry<T> {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                super::deserialize(from).map(Self)
            }
        }

        let entries = Vec::<Entry<T>>::deserialize(from)?;
        Ok(entries.into_iter().map(|Entry(value)| value).collect())
    }
}
