//! Names and versions of WIT interfaces.

use std::fmt;

use semver::{Version, VersionReq};

use crate::text::{Text, text_traits};

/// A WIT interface without its version: `tessera:services/accounts`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName {
    text: std::sync::Arc<str>,
    colon: usize,
    slash: usize,
}

impl InterfaceName {
    /// `tessera` in `tessera:services/accounts`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.text.get(..self.colon).unwrap_or_default()
    }

    /// `services` in `tessera:services/accounts`.
    #[must_use]
    pub fn package(&self) -> &str {
        self.text.get(self.colon + 1..self.slash).unwrap_or_default()
    }

    /// `accounts` in `tessera:services/accounts`.
    #[must_use]
    pub fn interface(&self) -> &str {
        self.text.get(self.slash + 1..).unwrap_or_default()
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Splits the name that a component carries, `tessera:services/accounts@0.1.0`, into name and
    /// version. `None` where it is no interface of a package.
    #[must_use]
    pub fn split_versioned(text: &str) -> Option<(Self, Option<Version>)> {
        match text.split_once('@') {
            Some((name, version)) => Some((name.parse().ok()?, Some(version.parse().ok()?))),
            None => Some((text.parse().ok()?, None)),
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, formatter)
    }
}

impl std::borrow::Borrow<str> for InterfaceName {
    fn borrow(&self) -> &str {
        &self.text
    }
}

fn is_kebab(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

impl Text for InterfaceName {
    const EXPECTED: &'static str =
        "an interface without version such as \"tessera:services/accounts\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.contains('@') {
            return Err("carries a version".into());
        }
        let no = || "is no interface name".to_owned();
        let (namespace, rest) = text.split_once(':').ok_or_else(no)?;
        let (package, interface) = rest.split_once('/').ok_or_else(no)?;
        if ![namespace, package, interface].into_iter().all(is_kebab) {
            return Err(no());
        }
        let colon = namespace.len();
        Ok(Self { text: text.into(), colon, slash: colon + 1 + package.len() })
    }
}

text_traits!(InterfaceName, pattern "^[a-z][a-z0-9-]*:[a-z][a-z0-9-]*/[a-z][a-z0-9-]*$");

/// An interface, or one function of it: `tessera:services/rooms`, `tessera:services/rooms.send-as`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallName {
    interface: InterfaceName,
    function: Option<std::sync::Arc<str>>,
}

impl CallName {
    /// The interface.
    #[must_use]
    pub fn interface(&self) -> &InterfaceName {
        &self.interface
    }

    /// The function; none: all of the interface.
    #[must_use]
    pub fn function(&self) -> Option<&str> {
        self.function.as_deref()
    }

    /// Whether it speaks of this function.
    #[must_use]
    pub fn allows(&self, interface: &str, function: &str) -> bool {
        self.interface.as_str() == interface && self.function().is_none_or(|own| own == function)
    }

    /// Whether all that `other` speaks of is spoken of by `self`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.interface == other.interface
            && (self.function.is_none() || self.function == other.function)
    }
}

impl From<InterfaceName> for CallName {
    fn from(interface: InterfaceName) -> Self {
        Self { interface, function: None }
    }
}

impl fmt::Display for CallName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.interface.fmt(formatter)?;
        self.function().map_or(Ok(()), |function| write!(formatter, ".{function}"))
    }
}

impl fmt::Debug for CallName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), formatter)
    }
}

impl Text for CallName {
    const EXPECTED: &'static str = "an interface without version such as \"tessera:services/rooms\", or one function of it such as \"tessera:services/rooms.send-as\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let (interface, function) = match text.split_once('.') {
            Some((interface, function)) => (interface, Some(function)),
            None => (text, None),
        };
        let interface = InterfaceName::from_text(interface)?;
        if function.is_some_and(|function| !is_kebab(function)) {
            return Err("names no function after the dot".into());
        }
        Ok(Self { interface, function: function.map(Into::into) })
    }
}

text_traits!(CallName, pattern "^[a-z][a-z0-9-]*:[a-z][a-z0-9-]*/[a-z][a-z0-9-]*(\\.[a-z][a-z0-9-]*)?$");

/// A semver range: `"^0.1"`, `">=1.2, <2"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange(VersionReq);

impl VersionRange {
    /// Whether a version lies in the range.
    #[must_use]
    pub fn matches(&self, version: &Version) -> bool {
        self.0.matches(version)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Text for VersionRange {
    const EXPECTED: &'static str = "a version range such as \"^0.1\" or \">=1.2, <2\"";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "is no version range".into())
    }
}

text_traits!(VersionRange, pattern "^[0-9A-Za-z.^~=<>, *+-]+$");

#[cfg(test)]
mod tests {
    use super::{CallName, InterfaceName};

    #[test]
    fn a_call_is_an_interface_or_a_function_of_it() {
        let call = |text: &str| text.parse::<CallName>().unwrap();
        let (whole, one) = (call("a:b/c"), call("a:b/c.d-e"));
        assert_eq!((one.interface().as_str(), one.function()), ("a:b/c", Some("d-e")));
        assert_eq!(one.to_string(), "a:b/c.d-e");
        assert!(whole.covers(&one) && whole.covers(&whole) && !one.covers(&whole));
        assert!(whole.allows("a:b/c", "x") && one.allows("a:b/c", "d-e"));
        assert!(!one.allows("a:b/c", "x") && !whole.allows("a:b/d", "x"));
        for text in ["a:b/c.", "a:b/c.D", "a:b/c.d.e", "b.c", "a:b/c@1.0.0"] {
            assert!(text.parse::<CallName>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_interface_has_three_parts() {
        let name: InterfaceName = "tessera:services/accounts".parse().unwrap();
        assert_eq!(
            (name.namespace(), name.package(), name.interface()),
            ("tessera", "services", "accounts")
        );
    }

    #[test]
    fn a_component_name_splits_into_name_and_version() {
        let (name, version) = InterfaceName::split_versioned("a:b/c@0.1.0").unwrap();
        assert_eq!(name.as_str(), "a:b/c");
        assert_eq!(version.unwrap().to_string(), "0.1.0");
        assert!(InterfaceName::split_versioned("run").is_none());
    }

    #[test]
    fn what_is_no_interface_is_refused() {
        for text in ["", "a", "a:b", "a/b", "a:b/c@0.1.0", "A:b/c", "a:b/c-"] {
            assert!(text.parse::<InterfaceName>().is_err(), "{text}");
        }
    }
}
