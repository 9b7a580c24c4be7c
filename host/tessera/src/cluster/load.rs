//! How much the plug-ins of this node have to do: calls each second and how long they take.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus::{Registry, proto::MetricFamily};
use serde::{Deserialize, Serialize};

/// The engine's histogram of calls.
const CALLS: &str = "tessera_call_seconds";

/// What is shown is of the last while of this length.
const WHILE: Duration = Duration::from_secs(5);

/// A plug-in's load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Figures {
    /// Calls that ended, each second.
    pub(crate) calls_per_second: f64,
    /// 99 of 100 took no longer than this: the bound of a bucket. None where there were no calls, or where the
    /// slowest took longer than the last bound.
    pub(crate) p99_ms: Option<f64>,
}

/// Counts so far: by bound in seconds, cumulative.
#[derive(Debug, Clone, Default, PartialEq)]
struct Counts {
    all: u64,
    buckets: Vec<(f64, u64)>,
}

/// Load of all plug-ins, of the last five seconds.
pub(crate) struct Load {
    registry: Registry,
    kept: Mutex<Kept>,
}

struct Kept {
    at: Instant,
    counts: BTreeMap<String, Counts>,
    figures: BTreeMap<String, Figures>,
}

impl Load {
    /// Of the engine that counts in `registry`.
    pub(crate) fn new(registry: Registry) -> Self {
        let kept = Kept { at: Instant::now(), counts: BTreeMap::new(), figures: BTreeMap::new() };
        Self { registry, kept: Mutex::new(kept) }
    }

    /// The figures by plug-in. Counted anew at most every five seconds.
    pub(crate) fn figures(&self) -> BTreeMap<String, Figures> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = kept.at.elapsed();
        if passed >= WHILE {
            let counts = count(&self.registry.gather());
            kept.figures = counts
                .iter()
                .map(|(plugin, now)| {
                    let before = kept.counts.get(plugin).cloned().unwrap_or_default();
                    (plugin.clone(), figures(&before, now, passed))
                })
                .collect();
            kept.counts = counts;
            kept.at = Instant::now();
        }
        kept.figures.clone()
    }
}

/// Sums over tenants and functions.
fn count(families: &[MetricFamily]) -> BTreeMap<String, Counts> {
    let mut counts = BTreeMap::<String, Counts>::new();
    let family = families.iter().find(|family| family.name() == CALLS);
    for metric in family.map(MetricFamily::get_metric).unwrap_or_default() {
        let labels = metric.get_label();
        let Some(plugin) = labels.iter().find(|label| label.name() == "plugin") else { continue };
        let histogram = metric.get_histogram();
        let sum = counts.entry(plugin.value().to_owned()).or_default();
        sum.all += histogram.get_sample_count();
        let buckets = histogram.get_bucket();
        if sum.buckets.is_empty() {
            sum.buckets = buckets.iter().map(|bucket| (bucket.upper_bound(), 0)).collect();
        }
        for ((_, count), bucket) in sum.buckets.iter_mut().zip(buckets) {
            *count += bucket.cumulative_count();
        }
    }
    counts
}

fn figures(before: &Counts, now: &Counts, passed: Duration) -> Figures {
    // Series of a tenant that fell asleep are gone, with their counts.
    let calls = now.all.saturating_sub(before.all);
    let most = calls - calls / 100;
    let since = |at: usize, count: u64| {
        count.saturating_sub(before.buckets.get(at).map_or(0, |(_, count)| *count))
    };
    let bound = now
        .buckets
        .iter()
        .enumerate()
        .find(|(at, (_, count))| since(*at, *count) >= most)
        .map(|(_, (bound, _))| bound * 1e3);
    Figures {
        calls_per_second: (calls as f64 / passed.as_secs_f64() * 10.0).round() / 10.0,
        p99_ms: bound.filter(|bound| calls > 0 && bound.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::{HistogramOpts, HistogramVec, Registry};

    use super::{CALLS, Counts, Figures, count, figures};

    #[test]
    fn tenants_are_summed_and_only_the_last_while_counts() {
        let registry = Registry::new();
        let options = HistogramOpts::new(CALLS, "h").buckets(vec![0.001, 0.1]);
        let histogram = HistogramVec::new(options, &["tenant", "plugin", "function"]).unwrap();
        registry.register(Box::new(histogram.clone())).unwrap();
        let call = |tenant, took| {
            histogram.with_label_values(&[tenant, "rooms", "handle"]).observe(took);
        };
        // Slow ones of before.
        (0..10).for_each(|_| call("a", 0.05));
        let before = count(&registry.gather());
        (0..98).for_each(|_| call("a", 0.0005));
        (0..2).for_each(|_| call("b", 0.05));
        let now = count(&registry.gather());
        let of = |before, now| figures(before, now, Duration::from_secs(5));
        let found = of(&before["rooms"], &now["rooms"]);
        assert_eq!(found, Figures { calls_per_second: 20.0, p99_ms: Some(100.0) });
        call("b", 0.0005);
        call("b", 5.0);
        let later = count(&registry.gather());
        // Of two calls one took longer than every bound.
        let found = of(&now["rooms"], &later["rooms"]);
        assert_eq!(found, Figures { calls_per_second: 0.4, p99_ms: None });
        let found = of(&later["rooms"], &later["rooms"]);
        assert_eq!(found, Figures::default());
        // A series has gone: no figure below nothing.
        assert_eq!(of(&later["rooms"], &Counts::default()), Figures::default());
    }
}
