//! Figures of tenants that went to sleep are forgotten: who hosts thousands would have a registry that only grows.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Metrics;

/// Results of calls, as in [`crate::api::CallError`].
pub(crate) const RESULTS: [&str; 7] =
    ["ok", "unavailable", "overloaded", "timeout", "trapped", "lost", "quota"];
/// Results of hooks' modules.
pub(crate) const ANSWERS: [&str; 3] = ["ok", "refused", "failed"];
/// Answers of shadows.
const SHADOWS: [&str; 4] = ["same", "different", "wrote", "failed"];
/// Limits that can be hit, and fences that can hold.
const LIMITS: [&str; 21] = [
    "header",
    "memory",
    "cpu",
    "wall",
    "host-calls",
    "result",
    "depth",
    "log",
    "slots",
    "stack",
    "passwords",
    "metrics",
    "cache",
    "blob",
    "watches",
    "storage",
    "topic",
    "fetch",
    "mail",
    "wasi:http",
    "grant",
];

/// Tenants that have figures.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    tenants: Mutex<HashMap<Arc<str>, Tenant>>,
}

#[derive(Debug, Default)]
struct Tenant {
    holders: usize,
    plugins: BTreeSet<Arc<str>>,
    /// Plug-in and function.
    functions: BTreeSet<(Arc<str>, String)>,
    /// Plug-in and hook.
    hooks: BTreeSet<(Arc<str>, String)>,
}

/// See [`Metrics::tenant`].
pub(crate) struct Labels {
    metrics: Arc<Metrics>,
    tenant: Arc<str>,
}

impl Labels {
    pub(super) fn new(metrics: Arc<Metrics>, tenant: Arc<str>) -> Self {
        let mut tenants = metrics.tenants.lock();
        let entry = tenants.entry(Arc::clone(&tenant)).or_default();
        entry.holders = entry.holders.saturating_add(1);
        drop(tenants);
        Self { metrics, tenant }
    }

    fn note(&self, note: impl FnOnce(&mut Tenant)) {
        if let Some(tenant) = self.metrics.tenants.lock().get_mut(&self.tenant) {
            note(tenant);
        }
    }

    pub(crate) fn plugin(&self, plugin: &Arc<str>) {
        self.note(|tenant| {
            tenant.plugins.insert(Arc::clone(plugin));
        });
    }

    pub(crate) fn function(&self, plugin: &Arc<str>, function: &str) {
        self.note(|tenant| {
            tenant.functions.insert((Arc::clone(plugin), function.to_owned()));
        });
    }

    /// Counts a limit that was hit; one of [`LIMITS`].
    pub(crate) fn limit(&self, plugin: &str, limit: &str) {
        self.metrics.limits.with_label_values(&[&*self.tenant, plugin, limit]).inc();
    }

    pub(crate) fn hook(&self, plugin: &Arc<str>, hook: &str) {
        self.note(|tenant| {
            tenant.hooks.insert((Arc::clone(plugin), hook.to_owned()));
        });
    }
}

impl Tenants {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Tenant>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Labels {
    fn drop(&mut self) {
        let mut tenants = self.metrics.tenants.lock();
        let Some(entry) = tenants.get_mut(&self.tenant) else { return };
        entry.holders = entry.holders.saturating_sub(1);
        if entry.holders > 0 {
            return;
        }
        // Under the lock: one who comes back meanwhile makes figures anew after this.
        if let Some(entry) = tenants.remove(&self.tenant) {
            self.metrics.forget(&self.tenant, &entry);
        }
    }
}

impl Metrics {
    /// What was never made is not there to be removed, which is as good.
    fn forget(&self, tenant: &str, entry: &Tenant) {
        for plugin in &entry.plugins {
            let labels = [tenant, plugin];
            drop(self.cpu.remove_label_values(&labels));
            drop(self.instances.remove_label_values(&labels));
            drop(self.memory.remove_label_values(&labels));
            drop(self.poisoned.remove_label_values(&labels));
            drop(self.retired.remove_label_values(&labels));
            for limit in LIMITS {
                drop(self.limits.remove_label_values(&[tenant, plugin, limit]));
            }
            for result in SHADOWS {
                drop(self.shadows.remove_label_values(&[tenant, plugin, result]));
            }
            for result in RESULTS {
                drop(self.remote.remove_label_values(&[tenant, plugin, result]));
            }
        }
        for (plugin, function) in &entry.functions {
            drop(self.wall.remove_label_values(&[tenant, plugin, function]));
            for result in RESULTS {
                drop(self.calls.remove_label_values(&[tenant, plugin, function, result]));
            }
        }
        for (plugin, hook) in &entry.hooks {
            drop(self.hooks.remove_label_values(&[tenant, plugin, hook]));
            for answer in ANSWERS {
                drop(self.hook_results.remove_label_values(&[tenant, plugin, hook, answer]));
            }
        }
    }
}
