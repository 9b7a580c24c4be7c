//! What a tenant's entry makes of the descriptor.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use anyhow::{Context, Result, bail};
use tessera_engine::{HookSettings, Plugin, PluginSpec, TrialMode, TrialSpec};
use tessera_http::{PluginRoutes, RouteTable};
use tessera_manifest::{Descriptor, PluginName, Quotas, TenantEntry};

use crate::{
    cluster::Node,
    manifests::{check_together, not_allowed},
};

/// The loaded plug-ins, and what holds for all tenants.
pub(crate) struct Plugins {
    /// Without `[tenants]`, which may be many.
    descriptor: Descriptor,
    /// Counts up from 1 each time that others take their place.
    generation: u64,
    loaded: Vec<Plugin>,
    versions: Versions,
    /// What this process is, where there are several.
    node: Option<Node>,
    /// By the names of the plug-ins: tenants with the same ones share a table.
    routes: Mutex<BTreeMap<Vec<String>, Weak<RouteTable>>>,
}

/// The files that a descriptor names, loaded.
#[derive(Clone, Default)]
pub(crate) struct Versions {
    /// Those that count.
    pub(crate) mains: Vec<Plugin>,
    /// Those that are tried beside them, by name.
    pub(crate) trials: BTreeMap<String, Plugin>,
    /// All of them by the digests of their files, so that what has not changed is not loaded again.
    pub(crate) digests: BTreeMap<String, Plugin>,
}

/// What one tenant has.
pub(crate) struct Settled {
    pub(crate) plugins: Vec<Plugin>,
    pub(crate) specs: Vec<PluginSpec>,
    pub(crate) hooks: HookSettings,
    pub(crate) routes: Arc<RouteTable>,
}

impl Plugins {
    /// Takes what was loaded for this descriptor. Of these a node runs its share.
    pub(crate) fn new(descriptor: &Descriptor, versions: Versions, node: Option<Node>) -> Self {
        let descriptor = Descriptor { tenants: BTreeMap::new(), ..descriptor.clone() };
        // What a plug-in is not allowed is as if it did not have it, from here on.
        let cut = |plugin: Plugin| {
            let spec = PluginSpec::of(plugin, &descriptor);
            let asked = spec.plugin.asked();
            if let Some(line) = not_allowed(spec.plugin.name(), &asked, &spec.grants) {
                tracing::warn!("{line}");
            }
            spec.plugin
        };
        let loaded = versions.mains.iter().cloned().map(cut).collect();
        Self { descriptor, generation: 1, loaded, versions, node, routes: Mutex::default() }
    }

    /// What takes the place of these in the same process.
    pub(crate) fn next(
        &self,
        descriptor: &Descriptor,
        versions: Versions,
        node: Option<Node>,
    ) -> Self {
        let generation = self.generation.saturating_add(1);
        Self { generation, ..Self::new(descriptor, versions, node) }
    }

    /// One more than how often others took their place.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Their files.
    pub(crate) fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Whether this process runs a plug-in; otherwise another node does.
    pub(crate) fn runs(&self, plugin: &Plugin) -> bool {
        self.node.as_ref().is_none_or(|node| node.runs(plugin.name()))
    }

    /// Those that this process runs.
    pub(crate) fn here(&self) -> Vec<Plugin> {
        self.loaded.iter().filter(|plugin| self.runs(plugin)).cloned().collect()
    }

    /// Names of those that only other nodes run.
    pub(crate) fn elsewhere(&self) -> Vec<String> {
        let elsewhere = self.loaded.iter().filter(|plugin| !self.runs(plugin));
        elsewhere.map(|plugin| plugin.name().to_owned()).collect()
    }

    /// The descriptor, without its `[tenants]`.
    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// All that are loaded.
    pub(crate) fn all(&self) -> &[Plugin] {
        &self.loaded
    }

    /// What a tenant may use at most.
    pub(crate) fn quotas(&self, entry: &TenantEntry) -> Quotas {
        entry.quotas.over(&self.descriptor.quotas)
    }

    /// Checks an entry by itself: that its plug-ins are there.
    pub(crate) fn check(&self, entry: &TenantEntry) -> Result<()> {
        let named = entry.plugins.iter().flatten();
        for name in named.chain(entry.hooks.values().flatten()).chain(entry.config.keys()) {
            if !self.loaded.iter().any(|plugin| plugin.name() == name.as_str()) {
                let known: Vec<&str> = self.loaded.iter().map(|plugin| plugin.name()).collect();
                bail!(
                    "there is no plug-in `{name}`; loaded are: {}. `[plugins.{name}]` of the descriptor names more",
                    known.join(", ")
                );
            }
        }
        if entry.plugins.as_ref().is_some_and(Vec::is_empty) {
            bail!("a tenant without a plug-in answers nothing; name some, or none to have all");
        }
        Ok(())
    }

    /// What a tenant has.
    pub(crate) fn settle(&self, tenant: &str, entry: &TenantEntry) -> Result<Settled> {
        self.check(entry)?;
        let descriptor = self.of(entry);
        let has = |plugin: &&Plugin| {
            let listed =
                |names: &Vec<PluginName>| names.iter().any(|name| name.as_str() == plugin.name());
            entry.plugins.as_ref().is_none_or(listed)
        };
        let plugins: Vec<Plugin> = self.loaded.iter().filter(has).cloned().collect();
        let specs = plugins.iter().map(|plugin| PluginSpec {
            local: self.runs(plugin),
            trial: self.trial(tenant, plugin, &descriptor),
            ..PluginSpec::of(plugin.clone(), &descriptor)
        });
        let specs: Vec<PluginSpec> = specs.collect();
        for spec in &specs {
            let manifest = &spec.plugin.manifest;
            if let Err(problem) = manifest.config.check(&spec.config) {
                bail!("the configuration of plug-in `{}` does not fit: {problem}", manifest.name);
            }
        }
        Ok(Settled {
            specs,
            hooks: hooks(&descriptor, &plugins),
            routes: self.routes(&plugins)?,
            plugins,
        })
    }

    /// Another version that is to be tried beside a plug-in of a tenant.
    fn trial(&self, tenant: &str, plugin: &Plugin, descriptor: &Descriptor) -> Option<TrialSpec> {
        let name = plugin.name();
        let tried = self.versions.trials.get(name)?.clone();
        let entry = descriptor.plugins.iter().find(|(known, _)| known.as_str() == name);
        let (_, entry) = entry?;
        let mode = match (&entry.canary, &entry.shadow) {
            (Some(canary), _) => {
                let all = canary.tenants.is_empty();
                let meant = all || canary.tenants.iter().any(|known| known.as_str() == tenant);
                meant.then(|| TrialMode::Canary { share: canary.share.get() })?
            }
            (None, Some(shadow)) => TrialMode::Shadow { functions: shadow.functions.clone() },
            (None, None) => return None,
        };
        let spec = PluginSpec { local: true, ..PluginSpec::of(tried, descriptor) };
        Some(TrialSpec { spec: Box::new(spec), mode })
    }

    /// The descriptor as it holds for one tenant.
    fn of(&self, entry: &TenantEntry) -> Descriptor {
        let mut descriptor = self.descriptor.clone();
        descriptor.hooks.order.extend(entry.hooks.clone());
        for (name, config) in &entry.config {
            if let Some(plugin) = descriptor.plugins.get_mut(name) {
                plugin.config.extend(config.clone());
            }
        }
        descriptor
    }

    /// The routes of these plug-ins.
    pub(crate) fn routes(&self, plugins: &[Plugin]) -> Result<Arc<RouteTable>> {
        let names: Vec<String> = plugins.iter().map(|plugin| plugin.name().to_owned()).collect();
        let mut tables = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(&names).and_then(Weak::upgrade) {
            return Ok(table);
        }
        let manifests: Vec<_> = plugins.iter().map(|plugin| &*plugin.manifest).collect();
        for warning in check_together(&manifests)? {
            tracing::warn!("{warning}");
        }
        let manifests: Vec<_> =
            manifests.into_iter().map(|manifest| PluginRoutes { manifest }).collect();
        let table = RouteTable::build(&manifests, &self.descriptor.http, &self.descriptor.rates)
            .context("the routes of the plug-ins do not fit together")?;
        for warning in table.warnings() {
            tracing::warn!("{warning}");
        }
        let table = Arc::new(table);
        tables.retain(|_, table| table.strong_count() > 0);
        tables.insert(names, Arc::downgrade(&table));
        Ok(table)
    }
}

fn hooks(descriptor: &Descriptor, plugins: &[Plugin]) -> HookSettings {
    let hooks = &descriptor.hooks;
    let there = |name: &&PluginName| plugins.iter().any(|plugin| plugin.name() == name.as_str());
    let order = hooks.order.iter().map(|(hook, order)| {
        (hook.to_string(), order.iter().filter(there).map(ToString::to_string).collect())
    });
    let refusals = hooks.refusals.iter().map(|(hook, refusal)| (hook.to_string(), refusal.clone()));
    HookSettings { order: order.collect(), refusals: refusals.collect() }
}
