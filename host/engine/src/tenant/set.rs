//! A plug-in and what it is allowed, as the descriptor says.

use std::collections::BTreeMap;

use tessera_manifest::{Descriptor, OnError, OriginPattern};

use super::TrialSpec;
use crate::{grants::Grants, limits::PluginLimits, plugin::Plugin};

/// A plug-in and what it is allowed.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginSpec {
    /// The loaded file.
    pub plugin: Plugin,
    /// Whether it runs on this node. One that does not is linked like the others, but its calls go to other nodes.
    pub local: bool,
    /// Resolved.
    pub limits: PluginLimits,
    /// What it is allowed of what its file asks; `plugin.manifest` is cut down to it.
    pub grants: Grants,
    /// Services and hooks that it may call, without version.
    pub calls: Vec<String>,
    /// Views of others that it may read.
    pub reads: Vec<String>,
    /// Origins that it may fetch from.
    pub fetch: Vec<OriginPattern>,
    /// What a trap or time-out in its answer to a hook means.
    pub on_error: OnError,
    /// Its section of the descriptor.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Another version of it, which is tried beside it. Its name is the same; it has no trial itself.
    pub trial: Option<TrialSpec>,
}

impl PluginSpec {
    /// A plug-in that is granted all that its manifest asks for, with default limits under the manifest's.
    #[must_use]
    pub fn asked(plugin: Plugin) -> Self {
        let grants = plugin.asked();
        Self::granted(plugin, grants)
    }

    fn granted(plugin: Plugin, grants: Grants) -> Self {
        let plugin = plugin.granted(&grants);
        let mut calls: Vec<String> =
            grants.call.iter().map(|call| call.interface().to_string()).collect();
        calls.sort();
        calls.dedup();
        let manifest = &plugin.manifest;
        Self {
            limits: PluginLimits::default().with(&manifest.limits),
            calls,
            reads: grants.reads.iter().map(ToString::to_string).collect(),
            fetch: grants.fetch.clone(),
            grants,
            on_error: OnError::default(),
            config: manifest.config.default.clone(),
            local: true,
            trial: None,
            plugin,
        }
    }

    /// Whether instances made for one serve the other as well.
    pub(super) fn makes_same_pool(&self, other: &Self) -> bool {
        let Self {
            plugin,
            local,
            limits,
            grants,
            calls,
            reads,
            fetch,
            config,
            on_error: _,
            trial: _,
        } = self;
        *plugin == other.plugin
            && *local == other.local
            && *limits == other.limits
            && *grants == other.grants
            && *calls == other.calls
            && *reads == other.reads
            && *fetch == other.fetch
            && *config == other.config
    }

    /// A plug-in as the descriptor has it: grants cut, limits over those of the manifest, configuration over
    /// the manifest's default. One that the descriptor does not name is allowed nothing.
    #[must_use]
    pub fn of(plugin: Plugin, descriptor: &Descriptor) -> Self {
        let entry = descriptor.plugins.iter().find(|(name, _)| name.as_str() == plugin.name());
        let Some((_, entry)) = entry else { return Self::granted(plugin, Grants::default()) };
        let grants = plugin.asked().allowed(&entry.grants);
        let mut spec = Self::granted(plugin, grants);
        spec.limits = PluginLimits::default()
            .with(&descriptor.engine.limits)
            .with(&spec.plugin.manifest.limits)
            .with(&entry.limits);
        spec.on_error = entry.on_error;
        spec.config.extend(entry.config.clone());
        spec
    }
}

/// How hooks are asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HookSettings {
    /// Modules in order, by interface without version; those not named follow by name.
    pub order: BTreeMap<String, Vec<String>>,
    /// By interface without version: what the caller is told, as JSON of the hook's refusal type, where a
    /// module did not answer and its `on-error` is `deny`.
    pub refusals: BTreeMap<String, serde_json::Value>,
}
