//! Limits that a module sets for itself, over those of the operator.

use std::time::Duration;

use tessera_engine::PluginLimits;
use tessera_manifest::{ByteSize, Descriptor, PluginManifest};

/// What holds for a module with this manifest.
pub(crate) fn of(manifest: &PluginManifest, descriptor: &Descriptor) -> PluginLimits {
    let entry = descriptor.plugins.get(&manifest.name).cloned().unwrap_or_default();
    PluginLimits::default()
        .with(&descriptor.engine.limits)
        .with(&manifest.limits)
        .with(&entry.limits)
}

/// What would hold if its manifest said nothing.
pub(crate) fn without(manifest: &PluginManifest, descriptor: &Descriptor) -> PluginLimits {
    let silent = PluginManifest { limits: tessera_manifest::Limits::default(), ..manifest.clone() };
    of(&silent, descriptor)
}

/// A line for each limit that differs: `memory: 1GiB instead of 64MiB`.
pub(crate) fn words(now: &PluginLimits, before: &PluginLimits) -> Vec<String> {
    let pairs = table(now).into_iter().zip(table(before));
    pairs
        .filter(|((_, now), (_, before))| now != before)
        .map(|((name, now), (_, before))| format!("{name}: {now} instead of {before}"))
        .collect()
}

/// As a descriptor names and writes them.
fn table(limits: &PluginLimits) -> Vec<(&'static str, String)> {
    let PluginLimits {
        memory,
        cpu,
        wall,
        instances,
        calls_per_instance,
        host_calls,
        result,
        blob,
        fetch,
        fetch_time,
        cache,
        log_rate,
        hook,
        // No manifest sets it.
        queue: _,
        storage,
    } = limits;
    let bytes = |bytes: u64| ByteSize::bytes(bytes).to_string();
    let size = |size: usize| bytes(u64::try_from(size).unwrap_or(u64::MAX));
    let time = |time: &Duration| format!("{time:?}");
    vec![
        ("memory", size(*memory)),
        ("cpu", time(cpu)),
        ("wall", time(wall)),
        ("instances", instances.to_string()),
        ("calls-per-instance", calls_per_instance.to_string()),
        ("host-calls", host_calls.to_string()),
        ("rows", storage.rows.to_string()),
        ("bytes", size(storage.bytes)),
        ("statement-time", time(&storage.time)),
        ("statements", storage.statements.to_string()),
        ("result", size(*result)),
        ("blob", size(*blob)),
        ("fetch", bytes(*fetch)),
        ("fetch-time", time(fetch_time)),
        ("cache", bytes(*cache)),
        ("log-rate", log_rate.to_string()),
        ("hook", time(hook)),
    ]
}
