//! What the tools show of tenants.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tessera_manifest::{HostPattern, Quotas, TenantEntry};

use super::{Entry, Origin, Tenants, archive::End};

/// Asleep, awake or suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    Awake,
    Asleep,
    Suspended,
    /// No server runs.
    Down,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Awake => "awake",
            Self::Asleep => "asleep",
            Self::Suspended => "suspended",
            Self::Down => "down",
        }
    }
}

/// A line of `tessera tenant list`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) origin: Origin,
    /// Empty: the host of its name, or every host where it is the only tenant.
    pub(crate) hosts: Vec<HostPattern>,
    /// Names of its plug-ins; absent: all that are enabled.
    pub(crate) plugins: Option<Vec<String>>,
}

/// `tessera tenant show`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) listed: Listed,
    /// What it may use at most.
    pub(crate) quotas: Quotas,
    /// What it uses on this node; absent where it is not awake.
    pub(crate) used: Option<Used>,
    /// Bytes of its blobs, where they were counted.
    pub(crate) blob_bytes: Option<u64>,
    /// How its plug-ins fare; empty where it is not awake.
    pub(crate) status: Vec<serde_json::Value>,
}

/// What a tenant that is awake uses.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Used {
    /// CPU seconds each second, over the last ten.
    pub(crate) cpu: f64,
    /// CPU seconds since it awoke.
    pub(crate) cpu_seconds: f64,
    /// Bytes of its instances.
    pub(crate) memory: u64,
    /// Outbound requests since it awoke.
    pub(crate) fetches: u64,
    /// Mails since it awoke.
    #[serde(default)]
    pub(crate) mails: u64,
    /// Calls refused because of a quota, since it awoke.
    pub(crate) refused: u64,
    /// Requests answered since it awoke.
    pub(crate) requests: u64,
    /// Requests refused because of the quota, since it awoke.
    pub(crate) limited: u64,
    /// Requests that are parked.
    pub(crate) parked: usize,
    /// Rows in its tables.
    pub(crate) rows: u64,
    /// Bytes of its database.
    pub(crate) bytes: u64,
}

/// What a change of a tenant came to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Done {
    pub(crate) name: String,
    /// It was so already.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub(crate) unchanged: bool,
    /// What the operator should know.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) notes: Vec<String>,
    /// The file that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<PathBuf>,
    /// What is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<End>,
}

/// What `list` and `show` tell of an entry.
pub(crate) fn listed(name: &str, entry: &TenantEntry, origin: Origin, state: State) -> Listed {
    let plugins = entry.plugins.as_ref();
    Listed {
        name: name.to_owned(),
        state,
        origin,
        hosts: entry.hosts.clone(),
        plugins: plugins.map(|names| names.iter().map(ToString::to_string).collect()),
    }
}

impl Entry {
    fn state(&self) -> State {
        if self.is_suspended() {
            State::Suspended
        } else if self.awake().is_some() {
            State::Awake
        } else {
            State::Asleep
        }
    }
}

impl Tenants {
    /// All, by name.
    pub(crate) fn list(&self) -> Vec<Listed> {
        let entries = self.entries();
        entries
            .iter()
            .map(|entry| listed(&entry.name, &entry.settings, entry.origin, entry.state()))
            .collect()
    }

    /// One with all that is known about it; it is not woken for that.
    pub(crate) async fn show(&self, name: &str) -> anyhow::Result<Shown> {
        let entry = self.known(name)?;
        let mut shown = Shown {
            listed: listed(name, &entry.settings, entry.origin, entry.state()),
            quotas: self.host.plugins().quotas(&entry.settings),
            used: None,
            blob_bytes: self.host.stores.blob_bytes(name),
            status: Vec::new(),
        };
        if let Some(running) = entry.awake() {
            let database = running.database.usage().await?;
            let usage = running.tenant.usage();
            let edge = self.edge().and_then(|edge| edge.usage(name)).unwrap_or_default();
            shown.used = Some(Used {
                requests: edge.requests,
                limited: edge.limited,
                parked: edge.parked,
                cpu: usage.cpu,
                cpu_seconds: usage.cpu_seconds,
                memory: usage.memory,
                fetches: usage.fetches,
                mails: usage.mails,
                refused: usage.refused,
                rows: database.rows,
                bytes: database.bytes,
            });
            let status = running.tenant.status();
            shown.status = status.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        }
        Ok(shown)
    }
}
