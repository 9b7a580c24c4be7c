//! What a node says of itself in its heartbeats.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::load::Figures;

/// A node as the others see it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Document {
    /// Of the binary.
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) pid: u32,
    /// Where it takes requests.
    #[serde(default)]
    pub(crate) addresses: Vec<String>,
    /// Its metrics listener, which also tells whether it is ready.
    #[serde(default)]
    pub(crate) metrics: Option<String>,
    /// What keeps it from taking requests; empty: it is ready.
    #[serde(default)]
    pub(crate) reasons: Vec<String>,
    #[serde(default)]
    pub(crate) tenants_awake: usize,
    /// Plug-ins that it runs.
    #[serde(default)]
    pub(crate) plugins: BTreeMap<String, Running>,
}

/// A plug-in that a node runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Running {
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default, flatten)]
    pub(crate) load: Figures,
}

/// A node of the cluster, as `tessera nodes` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// Of this run of it.
    pub(crate) id: String,
    /// Milliseconds since the epoch.
    pub(crate) since_ms: u64,
    /// Milliseconds since it was heard of.
    pub(crate) silent_ms: u64,
    pub(crate) state: State,
    #[serde(flatten)]
    pub(crate) document: Document,
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It takes requests.
    Ready,
    /// It lives, but something keeps it from taking requests.
    NotReady,
    /// It hands over, and ends.
    Draining,
    /// It stands in the descriptor, and nothing is heard of it.
    Lost,
}
