//! Metrics of one pool, each looked up once, at its first use: most functions of most tenants are never called.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus::{Counter, Histogram, IntCounter, IntGauge};

use crate::{api::CallError, capabilities::Capabilities, metrics::Metrics};

pub(super) struct Figures {
    pub(super) cpu: Counter,
    pub(super) instances: IntGauge,
    pub(super) memory: IntGauge,
    pub(super) poisoned: IntCounter,
    pub(super) retired: IntCounter,
    metrics: Arc<Metrics>,
    functions: Box<[OnceLock<Function>]>,
}

/// Figures of one function.
struct Function {
    ok: IntCounter,
    wall: Histogram,
}

/// What the host itself calls, in the order of [`super::work`]'s indices.
const FIXED: [&str; 8] =
    ["instantiate", "handle", "resume", "authenticate", "consume", "fire", "start", "next"];

/// The name of a function that the host itself calls.
pub(super) fn fixed(index: usize) -> Option<&'static str> {
    FIXED.get(index).copied()
}

/// Index of the first function of a service or hook.
pub(super) const FIRST: usize = FIXED.len();

impl Figures {
    /// `functions`: how many there are of services and hooks.
    pub(super) fn new(metrics: &Arc<Metrics>, caps: &Capabilities, functions: usize) -> Self {
        let shared = &caps.shared;
        shared.labels.plugin(&caps.plugin);
        let labels = [&*shared.tenant, &*caps.plugin];
        Self {
            cpu: metrics.cpu.with_label_values(&labels),
            instances: metrics.instances.with_label_values(&labels),
            memory: metrics.memory.with_label_values(&labels),
            poisoned: metrics.poisoned.with_label_values(&labels),
            retired: metrics.retired.with_label_values(&labels),
            metrics: Arc::clone(metrics),
            functions: (0..FIRST.saturating_add(functions)).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Counts a call; `name` is that of a service's or hook's function.
    pub(super) fn record<'a>(
        &self,
        caps: &Capabilities,
        index: usize,
        name: impl FnOnce() -> &'a str,
        error: Option<&CallError>,
        took: Duration,
    ) {
        let Some(cell) = self.functions.get(index) else { return };
        if error.is_none()
            && let Some(function) = cell.get()
        {
            function.ok.inc();
            function.wall.observe(took.as_secs_f64());
            return;
        }
        let name = fixed(index).unwrap_or_else(name);
        let (tenant, plugin) = (&*caps.shared.tenant, &*caps.plugin);
        let calls = |result| self.metrics.calls.with_label_values(&[tenant, plugin, name, result]);
        let function = cell.get_or_init(|| {
            caps.shared.labels.function(&caps.plugin, name);
            let wall = self.metrics.wall.with_label_values(&[tenant, plugin, name]);
            Function { ok: calls("ok"), wall }
        });
        match error {
            None => function.ok.inc(),
            Some(error) => calls(error.label()).inc(),
        }
        function.wall.observe(took.as_secs_f64());
    }

    pub(super) fn limit(&self, caps: &Capabilities, name: &str) {
        let labels = [&*caps.shared.tenant, &*caps.plugin, name];
        self.metrics.limits.with_label_values(&labels).inc();
    }
}
