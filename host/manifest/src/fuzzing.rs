//! What must hold of the parsers for any text at all, for fuzzers. No part of the crate's interface.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Auth, ByteSize, CallName, Descriptor, Duration, HostPattern, InterfaceName, ListenAddr, Name,
    OriginPattern, Percent, PluginManifest, PluginName, Problem, PublicKey, RoutePattern, Sha256,
    TenantName, TopicName, VersionRange, ViewName,
};

/// A manifest or descriptor is an error with words, or serialises to what parses to the same; so does every single
/// value of theirs that is written as text.
///
/// Gives whether there was anything to check: a run that refuses all inputs has shown nothing.
///
/// # Panics
/// Where that does not hold.
pub fn manifest(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let whole = [file(text, PluginManifest::parse), file(text, Descriptor::parse)];
    let word = text.trim_end_matches('\n');
    let values = [
        same::<Auth>(word),
        same::<ByteSize>(word),
        same::<CallName>(word),
        same::<Duration>(word),
        same::<HostPattern>(word),
        same::<InterfaceName>(word),
        same::<ListenAddr>(word),
        same::<Name>(word),
        same::<OriginPattern>(word),
        same::<Percent>(word),
        same::<PluginName>(word),
        same::<PublicKey>(word),
        same::<RoutePattern>(word),
        same::<Sha256>(word),
        same::<TenantName>(word),
        same::<TopicName>(word),
        same::<VersionRange>(word),
        same::<ViewName>(word),
    ];
    whole.into_iter().chain(values).any(|parsed| parsed)
}

fn file<T: PartialEq + Debug + Serialize + DeserializeOwned>(
    text: &str,
    parse: fn(&str, &str) -> Result<T, Problem>,
) -> bool {
    let parsed = match parse("file.toml", text) {
        Ok(parsed) => parsed,
        Err(problem) => {
            assert!(problem.to_string().contains("file.toml"), "no place: {problem}");
            return false;
        }
    };
    let written = toml::to_string(&parsed);
    assert!(written.is_ok(), "cannot be written: {written:?}\n{text}");
    let written = written.unwrap_or_default();
    let again = parse("file.toml", &written);
    assert!(again.as_ref().is_ok_and(|again| *again == parsed), "{again:?}\nis not\n{parsed:?}");
    true
}

fn same<T: FromStr<Err = String> + Display + PartialEq + Debug>(text: &str) -> bool {
    match text.parse::<T>() {
        Ok(value) => {
            let written = value.to_string();
            assert_eq!(written.parse::<T>().as_ref(), Ok(&value), "{text} written as {written}");
            true
        }
        Err(why) => {
            assert!(!why.is_empty(), "no words for {text}");
            false
        }
    }
}
