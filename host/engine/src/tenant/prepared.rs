//! A set of plug-ins before anybody calls it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{HookSettings, plugins::PluginSet};
use crate::{api::CallError, pool::Start, state::Context};

/// Plug-ins that are linked and can be started; calls go to them after [`super::Tenant::switch`].
pub struct Prepared {
    set: Arc<PluginSet>,
    hooks: Arc<HookSettings>,
    /// Units that did not run before.
    fresh: Vec<usize>,
}

/// A plug-in that does not start.
#[derive(Debug, thiserror::Error)]
#[error("plug-in `{plugin}` {version} does not start: {reason}")]
pub struct StartError {
    /// Its name.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// What it said, or what happened to it.
    pub reason: String,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("set", &self.set).finish_non_exhaustive()
    }
}

impl Prepared {
    pub(super) fn new(set: Arc<PluginSet>, hooks: Arc<HookSettings>, before: &PluginSet) -> Self {
        let fresh = set.pools_beside(before);
        Self { set, hooks, fresh }
    }

    pub(super) fn into_parts(self) -> (Arc<PluginSet>, Arc<HookSettings>) {
        (self.set, self.hooks)
    }

    /// How many plug-ins of this node are new or changed.
    #[must_use]
    pub fn fresh(&self) -> usize {
        self.fresh.len()
    }

    /// Runs the `start` of those plug-ins of this node that are new or changed: each before the first other call.
    ///
    /// # Errors
    ///
    /// The first that does not start.
    pub async fn start(&self) -> Result<(), StartError> {
        for index in &self.fresh {
            let Some(unit) = self.set.units.get(*index) else { continue };
            let Some(pool) = unit.pool() else { continue };
            let deadline =
                Instant::now().checked_add(unit.wall().min(LONGEST)).unwrap_or_else(Instant::now);
            let context = Context::edge(Arc::from(""), deadline, Arc::clone(&self.set), *index);
            let failed = |reason: String| StartError {
                plugin: unit.plugin().name().to_owned(),
                version: unit.plugin().version().to_string(),
                reason,
            };
            pool.run(context, Start)
                .await
                .map_err(|error: CallError| failed(error.to_string()))?
                .map_err(failed)?;
        }
        Ok(())
    }
}

/// Keeps clocks from overflowing.
const LONGEST: Duration = Duration::from_secs(86_400);
