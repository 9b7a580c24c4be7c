//! Plug-ins and hooks.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Before, Canary, Grants, Shadow, Swap};
use crate::{InterfaceName, Limits, PluginName, Sha256};

/// `[plugins.NAME]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Plugin {
    /// Whether it runs.
    pub enabled: bool,
    /// The file, relative to the plug-ins folder; absent: `NAME.wasm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// Digest of the file; another file is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// What it is allowed: `"asked"` for all that its manifest asks, `"nothing"` (the default), or a table.
    pub grants: Grants,
    /// Limits over those of its manifest.
    pub limits: Limits,
    /// What a trap or a timeout in an answer to a hook means.
    pub on_error: OnError,
    /// Its configuration; only the plug-in knows what it means.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// When a new version of it is taken back by itself.
    pub swap: Swap,
    /// Another version, which gets a part of the calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Another version, whose answers are only compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// The version before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
}

impl Default for Plugin {
    fn default() -> Self {
        Self {
            enabled: true,
            source: None,
            sha256: None,
            grants: Grants::default(),
            limits: Limits::default(),
            on_error: OnError::default(),
            config: serde_json::Map::new(),
            swap: Swap::default(),
            canary: None,
            shadow: None,
            before: None,
        }
    }
}

/// What a trap or a timeout in an answer to a hook means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// As if it had no objection.
    Allow,
    /// As if it had refused.
    #[default]
    Deny,
}

/// `[hooks]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Hooks {
    /// Who is asked, in this order. A plug-in that answers a hook but is not named here is asked
    /// after those named, in the order of names.
    pub order: BTreeMap<InterfaceName, Vec<PluginName>>,
    /// What the caller of a hook is told where a module trapped or took too long and its `on-error` is `"deny"`: the
    /// fields of the hook's refusal.
    pub refusals: BTreeMap<InterfaceName, serde_json::Value>,
}
