//! An immutable set of plug-ins, linked to one another.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tessera_manifest::{Descriptor, OnError, OriginPattern};
use tessera_storage::SessionGrant;
use tokio::sync::Semaphore;

use super::PluginStatus;
use crate::{
    capabilities::{Capabilities, FetchGrants, Granted, Shared},
    engine::Engine,
    grants::Grants,
    limits::PluginLimits,
    link::{Binding, Found, Link, LinkError, Provider, Target, resolve},
    plugin::Plugin,
    pool::{Health, Pool},
    remote::{Away, AwayFunction, Remote, call_service},
};

/// A plug-in and what it is allowed.
#[derive(Debug, Clone)]
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
            plugin,
        }
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
    runs: Runs,
    /// Routes, with the time-outs of those that have their own.
    routes: HashMap<String, Option<Duration>>,
}

/// Where a plug-in runs.
#[derive(Clone)]
pub(crate) enum Runs {
    Here(Arc<Pool>),
    Away(Arc<Away>),
}

/// What calls of other nodes go through, with what they need to know of the tenant.
pub(super) struct Ways<'a> {
    pub(super) edge: &'a Arc<Semaphore>,
    pub(super) hooks: &'a HookSettings,
    pub(super) remote: Option<&'a Arc<dyn Remote>>,
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
        ways: &Ways<'_>,
        specs: Vec<PluginSpec>,
    ) -> Result<Self, LinkError> {
        for (index, spec) in specs.iter().enumerate() {
            if specs.iter().skip(index + 1).any(|other| other.plugin.name() == spec.plugin.name()) {
                return Err(LinkError::Twice(spec.plugin.name().to_owned()));
            }
        }
        // All is checked before anything is made: what runs is not disturbed by a set that does not fit. Those
        // that run elsewhere are checked, too.
        let mut bindings = Vec::with_capacity(specs.len());
        for (index, spec) in specs.iter().enumerate() {
            let name = spec.plugin.name();
            let wrong = |reason: String| LinkError::Wasm { plugin: name.to_owned(), reason };
            let found = resolve(&specs, index, &ways.hooks.order)?;
            let component = spec.plugin.linked(engine).map_err(wrong)?;
            bindings.push((found, component));
        }
        let runs: Vec<Runs> = specs
            .iter()
            .zip(&bindings)
            .map(|(spec, (_, component))| {
                if !spec.local {
                    return Runs::Away(Arc::new(away(engine, shared, ways, spec)));
                }
                let caps = Arc::new(capabilities(engine, shared, spec));
                let pool = Arc::new(Pool::new(engine, caps, component, Arc::clone(ways.edge)));
                engine.register(&pool);
                Runs::Here(pool)
            })
            .collect();
        for ((spec, runs_caller), (bound, _)) in specs.iter().zip(&runs).zip(&bindings) {
            let wrong =
                |reason: String| LinkError::Wasm { plugin: spec.plugin.name().to_owned(), reason };
            let mut links = Vec::with_capacity(bound.len());
            for binding in bound {
                let provider = |found: &Found<'_>| {
                    provider(specs.get(found.plugin)?, runs.get(found.plugin)?, found, binding)
                };
                let providers: Vec<Provider> =
                    binding.providers.iter().filter_map(provider).collect();
                let (import, function) = (binding.import, binding.function);
                let link =
                    Link::of(import, function, &ways.hooks.refusals, &engine.metrics, providers)
                        .map_err(|text| wrong(format!("{}: {text}", import.name)))?;
                link.note(&shared.labels);
                links.push(link);
            }
            if let Runs::Here(pool) = runs_caller {
                // Filled once: the pool was made above.
                drop(pool.caps.links.set(links));
            }
        }
        drop(bindings);
        let slot = |(spec, runs): (PluginSpec, Runs)| {
            let routes = &spec.plugin.manifest.http.routes;
            let routes = routes
                .iter()
                .map(|route| (route.id.to_string(), route.timeout.map(|timeout| timeout.get())))
                .collect();
            (spec.plugin.name().to_owned(), Slot { plugin: spec.plugin, runs, routes })
        };
        Ok(Self { slots: specs.into_iter().zip(runs).map(slot).collect() })
    }

    /// Where a plug-in runs.
    pub(super) fn runs(&self, plugin: &str) -> Option<&Runs> {
        self.slots.get(plugin).map(|slot| &slot.runs)
    }

    /// The instances of a plug-in that runs here.
    pub(crate) fn pool(&self, plugin: &str) -> Option<&Arc<Pool>> {
        match self.runs(plugin)? {
            Runs::Here(pool) => Some(pool),
            Runs::Away(_) => None,
        }
    }

    /// The file of a plug-in.
    pub(crate) fn plugin(&self, plugin: &str) -> Option<&Plugin> {
        self.slots.get(plugin).map(|slot| &slot.plugin)
    }

    /// Whether the plug-in has such a route.
    pub(crate) fn has_route(&self, plugin: &str, route: &str) -> bool {
        self.slots.get(plugin).is_some_and(|slot| slot.routes.contains_key(route))
    }

    /// Wall time of a call on a route.
    pub(crate) fn timeout(&self, plugin: &str, route: &str) -> Option<Duration> {
        self.slots.get(plugin)?.routes.get(route).copied()?
    }

    pub(super) fn trim(&self, idle: Duration) {
        for slot in self.slots.values() {
            if let Runs::Here(pool) = &slot.runs {
                pool.trim(idle);
            }
        }
    }

    pub(super) fn status(&self) -> Vec<PluginStatus> {
        let status = |(name, slot): (&String, &Slot)| {
            let (health, (instances, idle)) = match &slot.runs {
                Runs::Here(pool) => (pool.health(), pool.instances()),
                Runs::Away(_) => (Health::Elsewhere, (0, 0)),
            };
            PluginStatus {
                name: name.clone(),
                version: slot.plugin.version().to_string(),
                health,
                instances,
                idle,
                size: slot.plugin.size,
            }
        };
        self.slots.iter().map(status).collect()
    }
}

/// The one who answers a binding, as its caller needs to know it.
fn provider(
    spec: &PluginSpec,
    runs: &Runs,
    found: &Found<'_>,
    binding: &Binding<'_>,
) -> Option<Provider> {
    let target = match runs {
        Runs::Here(pool) => Target::Here(Arc::downgrade(pool), found.function),
        Runs::Away(away) => {
            let ty = found.export.functions.get(binding.function)?;
            Target::Away(AwayFunction {
                away: Arc::clone(away),
                service: call_service(spec.plugin.name(), found.export, binding.function, ty),
                interface: found.export.name.clone(),
                function: binding.function.to_owned(),
                ty: ty.clone(),
            })
        }
    };
    Some(Provider {
        plugin: spec.plugin.name().into(),
        version: spec.plugin.version().to_string(),
        target,
        on_error: spec.on_error,
        wall: spec.limits.wall,
        hook: spec.limits.hook,
    })
}

fn away(engine: &Engine, shared: &Shared, ways: &Ways<'_>, spec: &PluginSpec) -> Away {
    let plugin: Arc<str> = spec.plugin.name().into();
    shared.labels.plugin(&plugin);
    Away {
        tenant: Arc::clone(&shared.tenant),
        plugin,
        wall: spec.limits.wall,
        bus: shared.bus.clone(),
        remote: ways.remote.cloned(),
        calls: engine.metrics.remote.clone(),
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
        sign: spec.grants.sign,
        passwords: spec.grants.passwords,
    };
    Capabilities::new(Arc::clone(shared), granted, &engine.metrics.registry)
}
