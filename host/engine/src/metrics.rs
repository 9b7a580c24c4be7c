//! What the engine counts.

mod labels;

pub(crate) use self::labels::Labels;

use std::sync::Arc;

use prometheus::{
    CounterVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
};

/// All figures of the engine. Labels: `tenant`, `plugin`, and what is named beside each.
#[derive(Debug)]
pub struct Metrics {
    /// Calls that ended, by `function` and `result` (ok, unavailable, overloaded, timeout, trapped, lost, quota).
    pub calls: IntCounterVec,
    /// CPU time in guests.
    pub cpu: CounterVec,
    /// Wall time of calls, by `function`.
    pub wall: HistogramVec,
    /// Instances alive.
    pub instances: IntGaugeVec,
    /// Bytes of guest memory and tables, of instances alive.
    pub memory: IntGaugeVec,
    /// Instances discarded after a trap, a time-out or a dropped call.
    pub poisoned: IntCounterVec,
    /// Instances retired in good health.
    pub retired: IntCounterVec,
    /// Limits that were hit and fences that held, by `limit`: memory, cpu, wall, host-calls, result, header, depth, stack, slots,
    /// log, metrics, cache, blob, watches, passwords; storage, topic, fetch, mail, wasi:http, grant.
    pub limits: IntCounterVec,
    /// Time that a hook's module took, by `hook`.
    pub hooks: HistogramVec,
    /// Answers of hook modules, by `hook` and `result` (ok, refused, failed).
    pub hook_results: IntCounterVec,
    /// Calls of plug-ins on other nodes, by `result` as above.
    pub remote: IntCounterVec,
    /// Answers of versions that run as shadows, by `result` (same, different, wrote, failed).
    pub shadows: IntCounterVec,
    /// Components whose code came from the cache.
    pub compile_hits: IntCounter,
    /// Components that were compiled.
    pub compile_misses: IntCounter,
    /// Entries of the code cache that were not believed.
    pub compile_rejected: IntCounter,
    /// Components that the compiler was stopped at, by `limit` (memory, time, size, invalid, crash, start).
    pub compile_refused: IntCounterVec,
    /// What plug-ins themselves register goes here.
    pub(crate) registry: Registry,
    tenants: labels::Tenants,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let plugin = ["tenant", "plugin"];
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauges = |name: &str, help: &str| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &plugin)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let histogram = |name: &str, help: &str, label: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let histogram = HistogramVec::new(options, &["tenant", "plugin", label])?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let cpu =
            CounterVec::new(Opts::new("tessera_cpu_seconds_total", "CPU time in guests"), &plugin)?;
        registry.register(Box::new(cpu.clone()))?;
        Ok(Self {
            calls: counters(
                "tessera_calls_total",
                "Calls of plug-ins that ended",
                &["tenant", "plugin", "function", "result"],
            )?,
            cpu,
            wall: histogram("tessera_call_seconds", "Wall time of calls", "function", &WALL)?,
            instances: gauges("tessera_instances", "Instances alive")?,
            memory: gauges(
                "tessera_instance_memory_bytes",
                "Memory and tables of instances alive",
            )?,
            poisoned: counters("tessera_instances_poisoned_total", "Instances discarded", &plugin)?,
            retired: counters("tessera_instances_retired_total", "Instances retired", &plugin)?,
            limits: counters(
                "tessera_limits_hit_total",
                "Limits that were hit",
                &["tenant", "plugin", "limit"],
            )?,
            hooks: histogram("tessera_hook_seconds", "Time a hook's module took", "hook", &HOOK)?,
            hook_results: counters(
                "tessera_hook_answers_total",
                "Answers of hook modules",
                &["tenant", "plugin", "hook", "result"],
            )?,
            remote: counters(
                "tessera_remote_calls_total",
                "Calls of plug-ins on other nodes",
                &["tenant", "plugin", "result"],
            )?,
            shadows: counters(
                "tessera_shadow_answers_total",
                "Answers of versions that run as shadows",
                &["tenant", "plugin", "result"],
            )?,
            compile_hits: counter("tessera_compile_cache_hits_total", "Code found in the cache")?,
            compile_misses: counter("tessera_compile_cache_misses_total", "Components compiled")?,
            compile_rejected: counter(
                "tessera_compile_cache_rejected_total",
                "Cache entries that were not believed",
            )?,
            compile_refused: counters(
                "tessera_compile_refused_total",
                "Components that were not compiled",
                &["limit"],
            )?,
            registry: registry.clone(),
            tenants: labels::Tenants::default(),
        })
    }

    /// Keeps the figures of a tenant while the answer lives. When the last one is gone, so are they.
    pub(crate) fn tenant(self: &Arc<Self>, name: &Arc<str>) -> Labels {
        Labels::new(Arc::clone(self), Arc::clone(name))
    }
}

/// From a warm call that does nothing to a long poll's hand-over.
const WALL: [f64; 12] =
    [0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

/// Finer around the usual budget of 50 ms, so that a p99 can be read off.
const HOOK: [f64; 11] =
    [0.000_02, 0.000_1, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5];
