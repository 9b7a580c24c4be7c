//! All of a tenant in one file, for another machine or another database engine.
//!
//! The file is a tar in zstd (with a checksum): first `tessera-export.json`, then `key` (the signing key), then
//! `database/000000` and so on (pieces of the engine-neutral stream of the storage), then `blobs/ID`, and at last
//! `end.json`, without which the file is not whole. It holds secrets: it is written with mode 0600.

mod pack;
mod stream;
mod unpack;

pub(crate) use self::{
    pack::{Source, export, export_closed},
    unpack::{check, unpack},
};

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use tessera_manifest::{HostPattern, PluginName, Quotas, TenantEntry, TenantName};

/// The version of the format that is written; older ones are read.
const FORMAT: u32 = 1;

/// Bytes of one piece of the database's stream.
const PIECE: usize = 1 << 20;

/// Bytes of the header, the key and the end at most: whoever made the file must not fill the memory.
const SMALL: u64 = 1 << 20;

const HEADER: &str = "tessera-export.json";
const KEY: &str = "key";
const DATABASE: &str = "database/";
const BLOBS: &str = "blobs/";
const END: &str = "end.json";

/// The first entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Header {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// The server name.
    pub(crate) tenant: TenantName,
    /// Its settings, without the certificate.
    pub(crate) entry: TenantEntry,
    /// The program that wrote it.
    pub(crate) tessera: String,
    /// Milliseconds since the epoch.
    pub(crate) exported_ms: u64,
}

/// The last entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct End {
    /// Bytes of the database's stream.
    pub(crate) database: u64,
    /// How many blobs.
    pub(crate) blobs: u64,
    /// Bytes of all blobs.
    pub(crate) blob_bytes: u64,
}

/// What goes before the settings of an imported file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Over {
    pub(crate) hosts: Vec<HostPattern>,
    pub(crate) plugins: Option<Vec<PluginName>>,
    pub(crate) quotas: Quotas,
    pub(crate) config: BTreeMap<PluginName, serde_json::Map<String, serde_json::Value>>,
}

impl Over {
    /// The entry as it holds here.
    pub(crate) fn over(self, mut entry: TenantEntry) -> TenantEntry {
        // Its files are those of another machine.
        entry.tls = None;
        if !self.hosts.is_empty() {
            entry.hosts = self.hosts;
        }
        if self.plugins.is_some() {
            entry.plugins = self.plugins;
        }
        entry.quotas = self.quotas.over(&entry.quotas);
        for (name, config) in self.config {
            entry.config.entry(name).or_default().extend(config);
        }
        entry
    }
}

/// Told how far an export or import is: what is done now, how much of it, and of how much (0: not known).
#[derive(Clone)]
pub(crate) struct Progress(Arc<Tell>);

type Tell = dyn Fn(&str, u64, u64) + Send + Sync;

impl Progress {
    /// Tells this function.
    pub(crate) fn new(tell: impl Fn(&str, u64, u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Tells nobody.
    pub(crate) fn nobody() -> Self {
        Self::new(|_, _, _| {})
    }

    pub(crate) fn tell(&self, what: &str, done: u64, total: u64) {
        (self.0)(what, done, total);
    }
}

#[cfg(test)]
mod tests {
    use tessera_manifest::TenantEntry;

    use super::Over;

    #[test]
    fn what_is_said_at_the_import_goes_before_the_file() {
        let entry: TenantEntry = serde_json::from_value(serde_json::json!({
            "hosts": ["a.org"],
            "tls": { "certificate": "c", "key": "k" },
            "quotas": { "rows": 1, "cpu": 2.0 },
            "config": { "a": { "x": 1, "y": 1 } },
        }))
        .unwrap();
        let over: Over = serde_json::from_value(serde_json::json!({
            "hosts": ["b.org"],
            "plugins": ["a"],
            "quotas": { "rows": 5 },
            "config": { "a": { "y": 2 } },
        }))
        .unwrap();
        let expected: TenantEntry = serde_json::from_value(serde_json::json!({
            "hosts": ["b.org"],
            "plugins": ["a"],
            "quotas": { "rows": 5, "cpu": 2.0 },
            "config": { "a": { "x": 1, "y": 2 } },
        }))
        .unwrap();
        assert_eq!(over.over(entry.clone()), expected);
        assert_eq!(Over::default().over(entry.clone()), TenantEntry { tls: None, ..entry });
    }
}
