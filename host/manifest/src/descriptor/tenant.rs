//! Tenants and nodes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{HostPattern, PluginName, TenantName};

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

/// `[tenants.NAME]`: one of many tenants. Not served yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TenantEntry {
    /// Hosts that it answers to.
    pub hosts: Vec<HostPattern>,
}

/// `[nodes.NAME]`: one of several processes. Not served yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Node {
    /// Plug-ins that it runs.
    pub run: Vec<PluginName>,
}
