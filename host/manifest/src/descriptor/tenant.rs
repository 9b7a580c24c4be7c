//! Tenants and nodes.

use std::{collections::BTreeMap, num::NonZeroU32};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::server::{Listener, Tls, count};
use crate::{
    ByteSize, Duration, HostPattern, InterfaceName, ListenAddr, Name, OrOff, PluginName, TenantName,
};

/// `[tenant]`: the only tenant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Tenant {
    /// The server name, for good: it is in every id.
    pub name: TenantName,
    /// Hosts that it answers to; empty: every host.
    pub hosts: Vec<HostPattern>,
}

impl Default for Tenant {
    fn default() -> Self {
        Self { name: localhost(), hosts: Vec::new() }
    }
}

#[expect(clippy::expect_used, reason = "a constant that fits the grammar")]
fn localhost() -> TenantName {
    "localhost".parse().expect("`localhost` is a server name")
}

/// `[tenants.NAME]`: one of many tenants.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TenantEntry {
    /// Hosts that it answers to; empty: the host of its name.
    pub hosts: Vec<HostPattern>,
    /// Its certificate, for listeners that speak TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Plug-ins that it has, of those in `[plugins]`; absent: all that are enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugins: Option<Vec<PluginName>>,
    /// Who answers a hook, in which order, in place of `[hooks.order]` for the hooks named here.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<InterfaceName, Vec<PluginName>>,
    /// Configuration of plug-ins, merged over `[plugins.NAME.config]`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<PluginName, serde_json::Map<String, serde_json::Value>>,
    /// What it may use at most, key by key in place of `[quotas]`.
    pub quotas: Quotas,
}

/// `[quotas]`: what each tenant may use at most. What is absent has no limit.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Quotas {
    /// Requests each second, on each node divided by the nodes that live; twice as many may come at
    /// once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    /// CPU seconds of its plug-ins each second, over a window of ten seconds: 0.5 is half a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Memory of all its instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Rows in its tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes of its database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<ByteSize>,
    /// Bytes of its blobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob_bytes: Option<ByteSize>,
    /// Outbound requests each minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetches_per_minute: Option<f64>,
    /// Mails each minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mails_per_minute: Option<f64>,
    /// Counts that its plug-ins keep to, by a name that they know, such as `users`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<Name, u64>,
}

impl Quotas {
    /// These, and those of `below` where these say nothing.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        let mut counts = below.counts.clone();
        counts.extend(self.counts.iter().map(|(name, count)| (name.clone(), *count)));
        Self {
            requests_per_second: self.requests_per_second.or(below.requests_per_second),
            cpu: self.cpu.or(below.cpu),
            memory: self.memory.or(below.memory),
            rows: self.rows.or(below.rows),
            bytes: self.bytes.or(below.bytes),
            blob_bytes: self.blob_bytes.or(below.blob_bytes),
            fetches_per_minute: self.fetches_per_minute.or(below.fetches_per_minute),
            mails_per_minute: self.mails_per_minute.or(below.mails_per_minute),
            counts,
        }
    }
}

/// `[sleep]`: when tenants give back what they hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Sleep {
    /// A tenant that nobody used for so long goes to sleep; it wakes by a request, a timer or a
    /// message.
    pub after: Duration,
    /// Tenants awake at once; beyond it the one that was used longest ago goes to sleep.
    pub awake_max: NonZeroU32,
}

impl Default for Sleep {
    fn default() -> Self {
        Self { after: Duration::secs(300), awake_max: count(500) }
    }
}

/// `[nodes.NAME]`: one of several processes, run by `tessera run --node NAME`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Node {
    /// Plug-ins that it runs; each may run in several nodes.
    pub run: Vec<PluginName>,
    /// Where it takes requests, in place of `[[listeners]]`; `[]`: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<Listener>>,
    /// Its Prometheus endpoint, in place of `[metrics] address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<OrOff<ListenAddr>>,
}
