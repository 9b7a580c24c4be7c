//! Makes a set: all is checked before anything is made, so what runs is not disturbed by a set that does not fit.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tessera_storage::SessionGrant;

use super::{
    PluginSpec, TrialSpec,
    plugins::{PluginSet, Runs, Slot, Unit, Ways},
    trial::Trial,
};
use crate::{
    capabilities::{Capabilities, FetchGrants, Granted, Shared},
    engine::Engine,
    link::{Binding, Found, Here, Link, LinkError, Provider, Target, Tried, resolve},
    plugin::Plugin,
    pool::{Linked, Pool},
    remote::{Away, AwayFunction, call_service},
};

/// A version beside the one that counts, with the set as it would be if it counted.
struct Candidate {
    /// Of the one that counts.
    main: usize,
    trial: TrialSpec,
    specs: Vec<PluginSpec>,
}

/// The functions of a candidate, by caller and place among the caller's bindings.
type Tries = HashMap<(usize, usize), usize>;

pub(super) fn set(
    engine: &Engine,
    shared: &Arc<Shared>,
    ways: &Ways<'_>,
    mut specs: Vec<PluginSpec>,
    before: &PluginSet,
) -> Result<PluginSet, LinkError> {
    for (index, spec) in specs.iter().enumerate() {
        if specs.iter().skip(index + 1).any(|other| other.plugin.name() == spec.plugin.name()) {
            return Err(LinkError::Twice(spec.plugin.name().to_owned()));
        }
    }
    let candidates = candidates(&mut specs)?;
    let order = &ways.hooks.order;
    // Those that run elsewhere are checked, too.
    let mut bindings = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        bindings.push((resolve(&specs, index, order)?, linked(engine, &spec.plugin)?));
    }
    let mut trials = Vec::with_capacity(candidates.len());
    for candidate in &candidates {
        let mut tries = Tries::new();
        for (caller, (own, _)) in bindings.iter().enumerate() {
            // Everybody must get on with it, as if it counted already.
            for (at, binding) in resolve(&candidate.specs, caller, order)?.iter().enumerate() {
                let found = binding.providers.iter().find(|found| found.plugin == candidate.main);
                let asked = own.get(at).is_some_and(|binding| {
                    binding.providers.iter().any(|found| found.plugin == candidate.main)
                });
                if let Some(found) = found.filter(|_| asked && caller != candidate.main) {
                    tries.insert((caller, at), found.function);
                }
            }
        }
        let own = resolve(&candidate.specs, candidate.main, order)?;
        trials.push((own, linked(engine, &candidate.trial.spec.plugin)?, tries));
    }

    let mains = specs.iter().zip(bindings.iter().map(|(_, linked)| *linked));
    let others = candidates.iter().map(|candidate| &*candidate.trial.spec);
    let others = others.zip(trials.iter().map(|(_, linked, _)| *linked));
    let runs: Vec<Runs> = mains
        .chain(others)
        .map(|(spec, linked)| runs(engine, shared, ways, spec, linked, before))
        .collect();
    let mut slots: BTreeMap<String, Slot> = specs
        .iter()
        .enumerate()
        .map(|(main, spec)| (spec.plugin.name().to_owned(), Slot { main, trial: None }))
        .collect();
    for (at, candidate) in candidates.iter().enumerate() {
        let name = candidate.trial.spec.plugin.name();
        let unit = specs.len().saturating_add(at);
        let trial = kept_trial(before, &candidate.trial, runs.get(unit)).unwrap_or_else(|| {
            let mode = candidate.trial.mode.clone();
            Arc::new(Trial::new(mode, engine.metrics.shadows.clone()))
        });
        if let Some(slot) = slots.get_mut(name) {
            slot.trial = Some((unit, trial));
        }
    }

    let maker = Maker { engine, shared, ways, specs: &specs, runs: &runs, slots: &slots };
    let mut links = Vec::with_capacity(runs.len());
    for (caller, (bound, _)) in bindings.iter().enumerate() {
        let of = |at: usize, plugin: usize| {
            let candidate = candidates.iter().position(|candidate| candidate.main == plugin)?;
            let (_, _, tries) = trials.get(candidate)?;
            tries.get(&(caller, at)).copied()
        };
        let name = specs.get(caller).map_or("", |spec| spec.plugin.name());
        links.push(maker.links(name, bound, of)?);
    }
    for ((own, _, _), candidate) in trials.iter().zip(&candidates) {
        links.push(maker.links(candidate.trial.spec.plugin.name(), own, |_, _| None)?);
    }
    drop((bindings, trials));
    let all = specs.into_iter().chain(candidates.into_iter().map(|one| *one.trial.spec));
    let units = all.zip(runs).zip(links);
    let units = units.map(|((spec, runs), links)| Unit::new(spec, runs, links)).collect();
    Ok(PluginSet { slots, units })
}

/// Takes the trials out of the specs. One of a plug-in that runs elsewhere is tried there.
fn candidates(specs: &mut [PluginSpec]) -> Result<Vec<Candidate>, LinkError> {
    let mut trials = Vec::new();
    for (main, spec) in specs.iter_mut().enumerate() {
        let Some(trial) = spec.trial.take().filter(|_| spec.local) else { continue };
        let (name, other) = (spec.plugin.name(), trial.spec.plugin.name());
        if name != other {
            return Err(LinkError::Wasm {
                plugin: name.to_owned(),
                reason: format!("what is tried in its place is named `{other}`"),
            });
        }
        trials.push((main, trial));
    }
    let specs = &*specs;
    let with = |(main, trial): (usize, TrialSpec)| {
        let mut specs = specs.to_vec();
        if let Some(spec) = specs.get_mut(main) {
            spec.clone_from(&trial.spec);
        }
        Candidate { main, trial, specs }
    };
    Ok(trials.into_iter().map(with).collect())
}

fn linked<'a>(engine: &Engine, plugin: &'a Plugin) -> Result<&'a Linked, LinkError> {
    let wrong = |reason| LinkError::Wasm { plugin: plugin.name().to_owned(), reason };
    plugin.linked(engine).map_err(wrong)
}

/// The instances of before, where nothing has changed about the plug-in: they are warm, and its health is known.
fn runs(
    engine: &Engine,
    shared: &Arc<Shared>,
    ways: &Ways<'_>,
    spec: &PluginSpec,
    linked: &Linked,
    before: &PluginSet,
) -> Runs {
    if !spec.local {
        return Runs::Away(Arc::new(away(engine, shared, ways, spec)));
    }
    let same = before.units.iter().find(|unit| unit.spec.makes_same_pool(spec));
    if let Some(pool) = same.and_then(Unit::pool) {
        return Runs::Here(Arc::clone(pool));
    }
    let caps = Arc::new(capabilities(engine, shared, spec));
    let pool = Arc::new(Pool::new(engine, caps, linked, Arc::clone(ways.edge)));
    engine.register(&pool);
    Runs::Here(pool)
}

/// What was counted before goes on, where the trial is the same.
fn kept_trial(before: &PluginSet, trial: &TrialSpec, runs: Option<&Runs>) -> Option<Arc<Trial>> {
    let (unit, kept) = before.slots.get(trial.spec.plugin.name())?.trial.as_ref()?;
    let (Some(Runs::Here(pool)), Some(before)) = (runs, before.units.get(*unit)?.pool()) else {
        return None;
    };
    (kept.mode == trial.mode && Arc::ptr_eq(pool, before)).then(|| Arc::clone(kept))
}

/// What links are made of.
struct Maker<'a> {
    engine: &'a Engine,
    shared: &'a Shared,
    ways: &'a Ways<'a>,
    specs: &'a [PluginSpec],
    runs: &'a [Runs],
    slots: &'a BTreeMap<String, Slot>,
}

impl Maker<'_> {
    /// `tried` gives the function of the trial for the binding at a place and the plug-in that answers it.
    fn links(
        &self,
        caller: &str,
        bound: &[Binding<'_>],
        tried: impl Fn(usize, usize) -> Option<usize>,
    ) -> Result<Vec<Link>, LinkError> {
        let mut links = Vec::with_capacity(bound.len());
        for (at, binding) in bound.iter().enumerate() {
            let provider =
                |found: &Found<'_>| self.provider(found, binding, tried(at, found.plugin));
            let providers: Vec<Provider> = binding.providers.iter().filter_map(provider).collect();
            let (import, function) = (binding.import, binding.function);
            if !binding.granted && !import.is_hook() {
                links.push(Link::not_granted(caller, import, function));
                continue;
            }
            let refusals = &self.ways.hooks.refusals;
            let link = Link::of(import, function, refusals, &self.engine.metrics, providers)
                .map_err(|text| LinkError::Wasm {
                    plugin: caller.to_owned(),
                    reason: format!("{}: {text}", import.name),
                })?;
            link.note(&self.shared.labels);
            links.push(link);
        }
        Ok(links)
    }

    /// The one who answers a binding, as its caller needs to know it.
    fn provider(
        &self,
        found: &Found<'_>,
        binding: &Binding<'_>,
        tried: Option<usize>,
    ) -> Option<Provider> {
        let spec = self.specs.get(found.plugin)?;
        let name = spec.plugin.name();
        let target = match self.runs.get(found.plugin)? {
            Runs::Here(pool) => Target::Here(Here {
                pool: Arc::clone(pool),
                unit: found.plugin,
                function: found.function,
            }),
            Runs::Away(away) => {
                let ty = found.export.functions.get(binding.function)?;
                Target::Away(AwayFunction {
                    away: Arc::clone(away),
                    service: call_service(name, found.export, binding.function, ty),
                    interface: found.export.name.clone(),
                    function: binding.function.to_owned(),
                    ty: ty.clone(),
                })
            }
        };
        let tried = tried.and_then(|function| {
            let (unit, trial) = self.slots.get(name)?.trial.as_ref()?;
            let Runs::Here(pool) = self.runs.get(*unit)? else { return None };
            Some(Tried {
                trial: Arc::clone(trial),
                here: Here { pool: Arc::clone(pool), unit: *unit, function },
                name: format!("{}.{}", binding.import.base, binding.function).into(),
            })
        });
        Some(Provider {
            plugin: name.into(),
            version: spec.plugin.version().to_string(),
            target,
            tried,
            on_error: spec.on_error,
            wall: spec.limits.wall,
            hook: spec.limits.hook,
        })
    }
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
        mail: spec.grants.mail,
    };
    Capabilities::new(Arc::clone(shared), granted, &engine.metrics.registry)
}
