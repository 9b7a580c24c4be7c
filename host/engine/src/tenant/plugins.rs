//! An immutable set of plug-ins, linked to one another.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{
    HookSettings, PluginSpec, PluginStatus, Trial, TrialMode,
    status::{TrialStatus, figures},
};
use crate::{
    capabilities::Shared,
    engine::Engine,
    link::{Link, LinkError},
    plugin::Plugin,
    pool::{Health, Pool},
    remote::{Away, Remote},
};

/// A version of a plug-in, and where it runs.
pub(crate) struct Unit {
    pub(crate) spec: PluginSpec,
    pub(crate) runs: Runs,
    /// What its imported functions lead to, in the order of [`crate::link::imported`].
    pub(super) links: Vec<Link>,
    routes: HashMap<String, RouteOf>,
}

/// What the edge asks of a route.
struct RouteOf {
    /// Its own time-out.
    timeout: Option<Duration>,
    /// What the configuration says of its body, in bytes.
    body_max: Option<u64>,
}

/// Where a plug-in runs.
#[derive(Clone)]
pub(crate) enum Runs {
    Here(Arc<Pool>),
    Away(Arc<Away>),
}

/// A plug-in by its name.
pub(super) struct Slot {
    /// The version that counts.
    pub(super) main: usize,
    /// Another one beside it.
    pub(super) trial: Option<(usize, Arc<Trial>)>,
}

/// What calls of other nodes go through, with what they need to know of the tenant.
pub(super) struct Ways<'a> {
    pub(super) edge: &'a Arc<Semaphore>,
    pub(super) hooks: &'a HookSettings,
    pub(super) remote: Option<&'a Arc<dyn Remote>>,
}

/// See the module. A call runs among the plug-ins of one set from its beginning to its end.
#[derive(Default)]
pub(crate) struct PluginSet {
    pub(super) slots: BTreeMap<String, Slot>,
    pub(super) units: Vec<Unit>,
}

impl std::fmt::Debug for PluginSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.slots.keys()).finish()
    }
}

impl Unit {
    pub(super) fn new(spec: PluginSpec, runs: Runs, links: Vec<Link>) -> Self {
        let routes = &spec.plugin.manifest.http.routes;
        let routes = routes
            .iter()
            .map(|route| {
                let key = route.body_max_config.as_ref();
                let body_max = key.and_then(|key| spec.config.get(key)?.as_u64());
                let timeout = route.timeout.map(|timeout| timeout.get());
                (route.id.to_string(), RouteOf { timeout, body_max })
            })
            .collect();
        Self { spec, runs, links, routes }
    }

    /// The file.
    pub(crate) fn plugin(&self) -> &Plugin {
        &self.spec.plugin
    }

    /// The instances, where it runs here.
    pub(crate) fn pool(&self) -> Option<&Arc<Pool>> {
        match &self.runs {
            Runs::Here(pool) => Some(pool),
            Runs::Away(_) => None,
        }
    }

    /// Whether it has such a route.
    pub(crate) fn has_route(&self, route: &str) -> bool {
        self.routes.contains_key(route)
    }

    /// Whether it exports this interface of the host's, given without version.
    pub(crate) fn offers(&self, interface: &str) -> bool {
        self.spec.plugin.exported(interface).next().is_some()
    }

    /// Wall time of a call on a route, if it has its own.
    pub(crate) fn timeout(&self, route: &str) -> Option<Duration> {
        self.routes.get(route)?.timeout
    }

    /// Bytes that a route's body may have by configuration, if that says so.
    pub(crate) fn body_max(&self, route: &str) -> Option<u64> {
        self.routes.get(route)?.body_max
    }

    /// Wall time of its calls.
    pub(crate) fn wall(&self) -> Duration {
        match &self.runs {
            Runs::Here(pool) => pool.caps.limits.wall,
            Runs::Away(away) => away.wall,
        }
    }
}

impl PluginSet {
    pub(super) fn link(
        engine: &Engine,
        shared: &Arc<Shared>,
        ways: &Ways<'_>,
        specs: Vec<PluginSpec>,
        before: &Self,
    ) -> Result<Self, LinkError> {
        super::build::set(engine, shared, ways, specs, before)
    }

    /// What a unit's imports lead to.
    pub(crate) fn links(&self, unit: usize) -> &[Link] {
        self.units.get(unit).map_or(&[], |unit| &unit.links)
    }

    /// The version that the next call goes to, of those for which `can` holds; where it holds for none, the one that
    /// counts.
    pub(crate) fn pick(&self, plugin: &str, can: impl Fn(&Unit) -> bool) -> Option<(usize, &Unit)> {
        let slot = self.slots.get(plugin)?;
        if let Some((index, trial)) = &slot.trial
            && matches!(trial.mode, TrialMode::Canary { .. })
            && let Some(unit) = self.units.get(*index).filter(|unit| can(unit))
            && unit.pool().is_some_and(|pool| trial.takes(pool))
        {
            return Some((*index, unit));
        }
        self.units.get(slot.main).map(|unit| (slot.main, unit))
    }

    /// The version that counts.
    pub(crate) fn main(&self, plugin: &str) -> Option<&Unit> {
        self.units.get(self.slots.get(plugin)?.main)
    }

    /// The pools of this set that are not in `other`.
    pub(super) fn pools_beside(&self, other: &Self) -> Vec<usize> {
        let is_new = |unit: &Unit| {
            unit.pool().is_some_and(|pool| {
                !other.units.iter().filter_map(Unit::pool).any(|there| Arc::ptr_eq(there, pool))
            })
        };
        let units = self.units.iter().enumerate();
        units.filter(|(_, unit)| is_new(unit)).map(|(index, _)| index).collect()
    }

    pub(super) fn trim(&self, idle: Duration) {
        self.units.iter().filter_map(Unit::pool).for_each(|pool| pool.trim(idle));
    }

    pub(super) fn status(&self) -> Vec<PluginStatus> {
        self.slots.values().filter_map(|slot| self.status_of(slot)).collect()
    }

    fn status_of(&self, slot: &Slot) -> Option<PluginStatus> {
        let unit = self.units.get(slot.main)?;
        let plugin = unit.plugin();
        let (health, (instances, idle)) = match &unit.runs {
            Runs::Here(pool) => (pool.health(), pool.instances()),
            Runs::Away(_) => (Health::Elsewhere, (0, 0)),
        };
        let trial = slot.trial.as_ref().and_then(|(index, trial)| {
            let unit = self.units.get(*index)?;
            let pool = unit.pool()?;
            let share = match &trial.mode {
                TrialMode::Canary { share } => Some(*share),
                TrialMode::Shadow { .. } => None,
            };
            Some(TrialStatus {
                version: unit.plugin().version().to_string(),
                share,
                health: pool.health(),
                figures: figures(pool),
                compared: trial.compared(),
            })
        });
        Some(PluginStatus {
            name: plugin.name().to_owned(),
            version: plugin.version().to_string(),
            health,
            instances,
            idle,
            size: plugin.size,
            figures: unit.pool().map(|pool| figures(pool)).unwrap_or_default(),
            trial,
        })
    }
}
