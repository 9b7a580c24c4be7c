//! Metrics of one pool, looked up once.

use std::time::Duration;

use prometheus::{Counter, Histogram, IntCounter, IntCounterVec, IntGauge};

use crate::{api::CallError, metrics::Metrics};

pub(super) struct Figures {
    pub(super) cpu: Counter,
    pub(super) instances: IntGauge,
    pub(super) memory: IntGauge,
    pub(super) poisoned: IntCounter,
    pub(super) retired: IntCounter,
    limits: IntCounterVec,
    labels: [String; 2],
    functions: Vec<Function>,
}

/// Figures of one function.
pub(super) struct Function {
    ok: IntCounter,
    unavailable: IntCounter,
    overloaded: IntCounter,
    timeout: IntCounter,
    trapped: IntCounter,
    wall: Histogram,
}

/// What the host itself calls, in the order of [`super::work`]'s indices.
const FIXED: [&str; 7] =
    ["instantiate", "handle", "resume", "authenticate", "consume", "fire", "start"];
/// Index of the first function of a service or hook.
pub(super) const FIRST: usize = FIXED.len();

impl Figures {
    pub(super) fn new<'a>(
        metrics: &Metrics,
        tenant: &str,
        plugin: &str,
        functions: impl Iterator<Item = &'a str>,
    ) -> Self {
        let labels = [tenant, plugin];
        let function = |name: &str| {
            let calls = |result| metrics.calls.with_label_values(&[tenant, plugin, name, result]);
            Function {
                ok: calls("ok"),
                unavailable: calls("unavailable"),
                overloaded: calls("overloaded"),
                timeout: calls("timeout"),
                trapped: calls("trapped"),
                wall: metrics.wall.with_label_values(&[tenant, plugin, name]),
            }
        };
        Self {
            cpu: metrics.cpu.with_label_values(&labels),
            instances: metrics.instances.with_label_values(&labels),
            memory: metrics.memory.with_label_values(&labels),
            poisoned: metrics.poisoned.with_label_values(&labels),
            retired: metrics.retired.with_label_values(&labels),
            limits: metrics.limits.clone(),
            labels: labels.map(str::to_owned),
            functions: FIXED.into_iter().chain(functions).map(function).collect(),
        }
    }

    pub(super) fn function(&self, index: usize) -> Option<&Function> {
        self.functions.get(index)
    }

    pub(super) fn limit(&self, name: &str) {
        let [tenant, plugin] = &self.labels;
        self.limits.with_label_values(&[tenant.as_str(), plugin.as_str(), name]).inc();
    }
}

impl Function {
    pub(super) fn record(&self, error: Option<&CallError>, took: Duration) {
        match error {
            None => self.ok.inc(),
            Some(CallError::Unavailable(_)) => self.unavailable.inc(),
            Some(CallError::Overloaded) => self.overloaded.inc(),
            Some(CallError::Timeout) => self.timeout.inc(),
            Some(CallError::Trapped(_)) => self.trapped.inc(),
        }
        self.wall.observe(took.as_secs_f64());
    }
}
