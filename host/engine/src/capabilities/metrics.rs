//! `tessera:host/metrics`: a plug-in's own figures, under its name as prefix.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, Opts, Registry, core::Collector};

use super::log;
use crate::{bindings::tessera::host::metrics as wit, state::State};

/// Names of one plug-in (the contract's figure).
const NAMES_MAX: usize = 64;
/// Bytes of a name.
const NAME_MAX: usize = 128;

enum Figure {
    Counter(IntCounter),
    Gauge(Gauge),
    Histogram(Histogram),
    /// The name is malformed or taken by another kind; said once in the log.
    Refused,
}

/// The figures of one plug-in and tenant; unregistered when dropped.
pub(crate) struct PluginMetrics {
    registry: Registry,
    tenant: String,
    plugin: String,
    figures: Mutex<HashMap<String, Figure>>,
}

/// The figures of a tenant's plug-ins: two versions of one share them.
#[derive(Default)]
pub(crate) struct Own {
    plugins: Mutex<HashMap<String, Weak<PluginMetrics>>>,
}

impl Own {
    pub(crate) fn of(&self, registry: &Registry, tenant: &str, plugin: &str) -> Arc<PluginMetrics> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = plugins.get(plugin).and_then(Weak::upgrade) {
            return there;
        }
        plugins.retain(|_, metrics| metrics.strong_count() > 0);
        let made = Arc::new(PluginMetrics::new(registry, tenant, plugin));
        plugins.insert(plugin.to_owned(), Arc::downgrade(&made));
        made
    }
}

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl PluginMetrics {
    fn new(registry: &Registry, tenant: &str, plugin: &str) -> Self {
        Self {
            registry: registry.clone(),
            tenant: tenant.to_owned(),
            plugin: plugin.to_owned(),
            figures: Mutex::new(HashMap::new()),
        }
    }

    /// Whether there is room for the name.
    fn with(&self, name: String, kind: &Kind, act: impl FnOnce(&Figure)) -> bool {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        if !figures.contains_key(&name) {
            if figures.len() >= NAMES_MAX || name.len() > NAME_MAX {
                return false;
            }
            let figure = self.register(&name, kind).unwrap_or_else(|error| {
                tracing::warn!(plugin = self.plugin, name, %error, "metric refused");
                Figure::Refused
            });
            figures.insert(name.clone(), figure);
        }
        if let Some(figure) = figures.get(&name) {
            act(figure);
        }
        true
    }

    fn register(&self, name: &str, kind: &Kind) -> prometheus::Result<Figure> {
        let full: String = format!("tessera_plugin_{}_{name}", self.plugin).replace('-', "_");
        let help = format!("A figure of the plug-in {}", self.plugin);
        let options = Opts::new(full, help).const_label("tenant", self.tenant.clone());
        let keep = |collector: Box<dyn Collector>| self.registry.register(collector);
        Ok(match kind {
            Kind::Counter => {
                let counter = IntCounter::with_opts(options)?;
                keep(Box::new(counter.clone()))?;
                Figure::Counter(counter)
            }
            Kind::Gauge => {
                let gauge = Gauge::with_opts(options)?;
                keep(Box::new(gauge.clone()))?;
                Figure::Gauge(gauge)
            }
            Kind::Histogram => {
                let histogram = Histogram::with_opts(HistogramOpts::from(options))?;
                keep(Box::new(histogram.clone()))?;
                Figure::Histogram(histogram)
            }
        })
    }
}

impl Drop for PluginMetrics {
    fn drop(&mut self) {
        let figures = self.figures.get_mut().unwrap_or_else(PoisonError::into_inner);
        for figure in std::mem::take(figures).into_values() {
            let dropped = match figure {
                Figure::Counter(counter) => self.registry.unregister(Box::new(counter)),
                Figure::Gauge(gauge) => self.registry.unregister(Box::new(gauge)),
                Figure::Histogram(histogram) => self.registry.unregister(Box::new(histogram)),
                Figure::Refused => Ok(()),
            };
            if let Err(error) = dropped {
                tracing::debug!(plugin = self.plugin, %error, "metric was not registered");
            }
        }
    }
}

impl wit::Host for State {
    fn count(&mut self, name: String, n: u64) -> wasmtime::Result<()> {
        self.enter()?;
        let kept = self.caps.metrics.with(name, &Kind::Counter, |figure| {
            if let Figure::Counter(counter) = figure {
                counter.inc_by(n);
            }
        });
        told(self, kept)
    }

    fn gauge(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.enter()?;
        let kept = self.caps.metrics.with(name, &Kind::Gauge, |figure| {
            if let Figure::Gauge(gauge) = figure {
                gauge.set(value);
            }
        });
        told(self, kept)
    }

    fn observe(&mut self, name: String, seconds: f64) -> wasmtime::Result<()> {
        self.enter()?;
        let kept = self.caps.metrics.with(name, &Kind::Histogram, |figure| {
            if let Figure::Histogram(histogram) = figure {
                histogram.observe(seconds);
            }
        });
        told(self, kept)
    }
}

/// Says that there is no room for another name.
fn told(state: &State, kept: bool) -> wasmtime::Result<()> {
    if !kept {
        let reason =
            format!("a metric's name is over {NAME_MAX} bytes, or one of more than {NAMES_MAX}");
        log::refused(state, "metrics", &reason);
    }
    Ok(())
}
