//! Looks at a version that was just put in, and takes it back where it does worse than the one before.

use std::{sync::Arc, time::Duration};

use tessera_engine::Reading;
use tessera_manifest::Swap;
use tokio::time::{Instant, sleep};

use super::Reloader;
use crate::modules::{change::Change, version::VersionChange};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(100);
/// So few faults may be anybody's.
const FAULTS: u64 = 5;
/// Of fewer calls the slowest of a hundred says nothing.
const CALLS: u64 = 100;
/// No time up to this, in microseconds, is too long.
const QUICK_US: u64 = 5_000;

/// Watches until the time is over, and takes the version back if it must. `old` is what the version that counted before
/// the change had done.
pub(super) async fn watch(reloader: Arc<Reloader>, plugin: String, bounds: Swap, old: Reading) {
    let until = Instant::now() + bounds.watch.get();
    let (main_then, tried_then) = reloader.readings(&plugin);
    let has_trial = |reloader: &Reloader| {
        let descriptor = reloader.tenants.host.plugins();
        descriptor.versions().trials.contains_key(&plugin)
    };
    let trial = has_trial(&reloader);
    while Instant::now() < until {
        sleep(LOOK).await;
        let (main, tried) = reloader.readings(&plugin);
        // A version that is tried stands beside the other; one that was put in follows it.
        let (new, old) = if trial {
            (tried.since(&tried_then), main.since(&main_then).and(&old))
        } else {
            (main, old.clone())
        };
        let Some(why) = judge(&new, &old, &bounds) else { continue };
        tracing::error!(plugin, why, "the new version is taken back");
        let Ok(name) = plugin.parse() else { return };
        // This task must not end itself.
        reloader.watches().remove(&plugin);
        let change = Change::Version(VersionChange::Rollback { name });
        match reloader.change(&change).await {
            Ok(_) => tracing::warn!(plugin, why, "the version before is back"),
            Err(error) => tracing::error!(plugin, "it cannot be taken back: {error:#}"),
        }
        return;
    }
    tracing::info!(plugin, "the new version did well while it was watched");
    reloader.watches().remove(&plugin);
}

/// What is wrong with the new version.
fn judge(new: &Reading, old: &Reading, bounds: &Swap) -> Option<String> {
    let rate = |reading: &Reading| {
        u128::from(reading.faults).saturating_mul(10_000) / u128::from(reading.calls.max(1))
    };
    if new.faults >= FAULTS && rate(new) > u128::from(bounds.max_errors.get()) {
        return Some(format!(
            "{} of {} calls went wrong, more than {}",
            new.faults, new.calls, bounds.max_errors
        ));
    }
    let (is, was) = (new.percentile_us(99), old.percentile_us(99));
    if new.calls < CALLS || old.calls < CALLS || is <= QUICK_US {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "microseconds")]
    let ratio = is as f64 / was.max(1) as f64;
    (ratio > bounds.max_p99_ratio).then(|| {
        format!(
            "99 of 100 calls took up to {is} µs, {ratio:.1} times as long as before ({was} µs); at most {} times are allowed",
            bounds.max_p99_ratio
        )
    })
}

#[cfg(test)]
mod tests {
    use tessera_engine::Reading;
    use tessera_manifest::Swap;

    use super::judge;

    fn reading(calls: u64, faults: u64, micros: u64) -> Reading {
        Reading::of(calls, faults, std::time::Duration::from_micros(micros))
    }

    #[test]
    fn faults_over_the_bound_are_told() {
        let bounds = Swap::default();
        let old = reading(1_000, 0, 100);
        assert_eq!(judge(&reading(4, 4, 100), &old, &bounds), None, "too few to say");
        assert_eq!(judge(&reading(1_000, 20, 100), &old, &bounds), None, "just 2%");
        let why = judge(&reading(1_000, 21, 100), &old, &bounds).unwrap();
        assert_eq!(why, "21 of 1000 calls went wrong, more than 2%");
        assert!(judge(&reading(5, 5, 100), &old, &bounds).is_some());
    }

    #[test]
    fn calls_that_take_much_longer_are_told() {
        let bounds = Swap::default();
        let old = reading(1_000, 0, 10_000);
        assert_eq!(judge(&reading(1_000, 0, 25_000), &old, &bounds), None);
        assert!(
            judge(&reading(1_000, 0, 60_000), &old, &bounds).unwrap().contains("times as long")
        );
        assert_eq!(judge(&reading(99, 0, 60_000), &old, &bounds), None, "too few to say");
        let quick = reading(1_000, 0, 100);
        assert_eq!(judge(&reading(1_000, 0, 4_000), &quick, &bounds), None, "still quick");
    }
}
