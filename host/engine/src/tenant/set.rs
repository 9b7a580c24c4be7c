//! An immutable set of plug-ins, linked to one another.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tessera_manifest::{Descriptor, Grants, OnError, OriginPattern};
use tessera_storage::SessionGrant;
use tokio::sync::Semaphore;

use super::PluginStatus;
use crate::{
    capabilities::{Capabilities, FetchGrants, Granted, Shared},
    engine::Engine,
    limits::PluginLimits,
    link::{Binding, Link, LinkError, Provider, define, resolve},
    plugin::Plugin,
    pool::{Indices, Pool},
};

/// A plug-in and what it is allowed.
#[derive(Debug, Clone)]
pub struct PluginSpec {
    /// The loaded file.
    pub plugin: Plugin,
    /// Resolved.
    pub limits: PluginLimits,
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
}

impl PluginSpec {
    /// A plug-in that is granted all that its manifest asks for, with default limits under the manifest's.
    #[must_use]
    pub fn asked(plugin: Plugin) -> Self {
        let manifest = &plugin.manifest;
        Self {
            limits: PluginLimits::default().with(&manifest.limits),
            calls: manifest.grants.call.iter().map(ToString::to_string).collect(),
            reads: manifest.storage.reads.iter().map(ToString::to_string).collect(),
            fetch: manifest.grants.fetch.clone(),
            on_error: OnError::default(),
            config: manifest.config.default.clone(),
            plugin,
        }
    }

    /// A plug-in as the descriptor has it: grants cut, limits over those of the manifest, configuration over
    /// the manifest's default.
    #[must_use]
    pub fn of(plugin: Plugin, descriptor: &Descriptor) -> Self {
        let mut spec = Self::asked(plugin);
        spec.limits = PluginLimits::default()
            .with(&descriptor.engine.limits)
            .with(&spec.plugin.manifest.limits);
        let entry = descriptor.plugins.iter().find(|(name, _)| name.as_str() == spec.plugin.name());
        let Some((_, entry)) = entry else { return spec };
        spec.limits = spec.limits.with(&entry.limits);
        spec.on_error = entry.on_error;
        spec.config.extend(entry.config.clone());
        if let Grants::Only(table) = &entry.grants {
            if let Some(calls) = &table.call {
                spec.calls.retain(|asked| calls.iter().any(|call| call.as_str() == asked));
            }
            if let Some(reads) = &table.reads {
                spec.reads.retain(|asked| reads.iter().any(|view| view.as_str() == asked));
            }
            if let Some(fetch) = &table.fetch {
                spec.fetch.retain(|asked| fetch.contains(asked));
            }
        }
        spec
    }
}

/// How hooks are asked.
#[derive(Debug, Clone, Default)]
pub struct HookSettings {
    /// Modules in order, by interface without version; those not named follow by name.
    pub order: BTreeMap<String, Vec<String>>,
    /// By interface without version: what the caller is told, as JSON of the hook's refusal type, where a
    /// module did not answer and its `on-error` is `deny`.
    pub refusals: BTreeMap<String, serde_json::Value>,
}

struct Slot {
    plugin: Plugin,
    pool: Arc<Pool>,
    /// Time-outs of routes that have their own.
    timeouts: HashMap<String, Duration>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct PluginSet {
    slots: BTreeMap<String, Slot>,
}

impl PluginSet {
    pub(super) fn link(
        engine: &Engine,
        shared: &Arc<Shared>,
        edge: &Arc<Semaphore>,
        hooks: &HookSettings,
        specs: Vec<PluginSpec>,
    ) -> Result<Self, LinkError> {
        for (index, spec) in specs.iter().enumerate() {
            if specs.iter().skip(index + 1).any(|other| other.plugin.name() == spec.plugin.name()) {
                return Err(LinkError::Twice(spec.plugin.name().to_owned()));
            }
        }
        let mut pools: Vec<Arc<Pool>> = Vec::with_capacity(specs.len());
        let mut links: Vec<(Arc<Link>, Binding<'_>)> = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let wrong =
                |reason: String| LinkError::Wasm { plugin: spec.plugin.name().to_owned(), reason };
            let wasm = |error: wasmtime::Error| wrong(format!("{error:#}"));
            let mut linker = engine.linker.clone();
            for binding in resolve(&specs, index, &hooks.order)? {
                let (import, function) = (binding.import, binding.function);
                let link = Link::of(import, function, &hooks.refusals, &engine.metrics)
                    .map_err(|text| wrong(format!("{}: {text}", import.name)))?;
                let link = Arc::new(link);
                define(&mut linker, &import.name, function, Arc::clone(&link)).map_err(wasm)?;
                links.push((link, binding));
            }
            let pre = linker.instantiate_pre(&spec.plugin.component).map_err(wasm)?;
            let indices = Indices::of(&pre, &spec.plugin.exports).map_err(wasm)?;
            let caps = Arc::new(capabilities(engine, shared, spec));
            let pool = Arc::new(Pool::new(engine, caps, pre, indices, Arc::clone(edge)));
            engine.register(&pool);
            pools.push(pool);
        }
        for (link, binding) in &links {
            let provider = |(index, function): &(usize, usize)| {
                Some(Provider {
                    pool: Arc::downgrade(pools.get(*index)?),
                    function: *function,
                    on_error: specs.get(*index)?.on_error,
                })
            };
            let providers = binding.providers.iter().filter_map(provider).collect();
            // Filled once: the link was made above.
            drop(link.providers.set(providers));
        }
        drop(links);
        let slot = |(spec, pool): (PluginSpec, Arc<Pool>)| {
            let timeouts = spec
                .plugin
                .manifest
                .http
                .routes
                .iter()
                .filter_map(|route| Some((route.id.to_string(), route.timeout?.get())))
                .collect();
            (spec.plugin.name().to_owned(), Slot { plugin: spec.plugin, pool, timeouts })
        };
        Ok(Self { slots: specs.into_iter().zip(pools).map(slot).collect() })
    }

    pub(super) fn pool(&self, plugin: &str) -> Option<&Arc<Pool>> {
        self.slots.get(plugin).map(|slot| &slot.pool)
    }

    /// Wall time of a call on a route.
    pub(super) fn timeout(&self, plugin: &str, route: &str) -> Option<Duration> {
        self.slots.get(plugin)?.timeouts.get(route).copied()
    }

    pub(super) fn trim(&self, idle: Duration) {
        for slot in self.slots.values() {
            slot.pool.trim(idle);
        }
    }

    pub(super) fn status(&self) -> Vec<PluginStatus> {
        let status = |(name, slot): (&String, &Slot)| {
            let (instances, idle) = slot.pool.instances();
            PluginStatus {
                name: name.clone(),
                version: slot.plugin.version().to_string(),
                health: slot.pool.health(),
                instances,
                idle,
                size: slot.plugin.size,
            }
        };
        self.slots.iter().map(status).collect()
    }
}

fn capabilities(engine: &Engine, shared: &Arc<Shared>, spec: &PluginSpec) -> Capabilities {
    let session = shared.database.session(SessionGrant {
        plugin: spec.plugin.name().to_owned(),
        reads: spec.reads.clone(),
        limits: spec.limits.storage.clone(),
    });
    let granted = Granted {
        plugin: spec.plugin.name().into(),
        version: spec.plugin.version().to_string(),
        limits: spec.limits.clone(),
        session,
        emits: spec.plugin.manifest.topics.emits.iter().map(ToString::to_string).collect(),
        config: serde_json::Value::Object(spec.config.clone()).to_string(),
        fetch: FetchGrants { origins: spec.fetch.clone() },
    };
    Capabilities::new(Arc::clone(shared), granted, &engine.metrics.registry)
}
