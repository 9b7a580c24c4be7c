//! Looks at a version that was just put in, and takes it back where it does worse than the one before.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tessera_engine::Reading;
use tessera_manifest::Swap;
use tokio::{
    task::{AbortHandle, Id},
    time::{Instant, sleep},
};

use super::Reloader;

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(100);
/// So few faults may be anybody's.
const FAULTS: u64 = 5;
/// Of fewer calls the slowest of a hundred says nothing.
const CALLS: u64 = 100;
/// No time up to this, in microseconds, is too long.
const QUICK_US: u64 = 5_000;

/// Who watches a plug-in that was just changed, by its name. At most one for each.
#[derive(Debug, Default)]
pub(super) struct Watches(Mutex<BTreeMap<String, AbortHandle>>);

impl Watches {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This task watches the plug-in from now on, and whoever did so does no more.
    pub(super) fn begin(&self, plugin: String, task: AbortHandle) {
        if let Some(before) = self.all().insert(plugin, task) {
            before.abort();
        }
    }

    /// Nobody watches the plug-in any more.
    pub(super) fn end(&self, plugin: &str) {
        if let Some(task) = self.all().remove(plugin) {
            task.abort();
        }
    }

    /// A task watches no more, and goes on. False where it is not the one that watches the plug-in: that one stays.
    pub(super) fn leave(&self, plugin: &str, task: Id) -> bool {
        let mut all = self.all();
        let own = all.get(plugin).is_some_and(|watch| watch.id() == task);
        if own {
            all.remove(plugin);
        }
        own
    }
}

/// Watches until the time is over, and takes the version back if it must. `old` is what the version that counted before
/// the change had done.
pub(super) async fn watch(reloader: Arc<Reloader>, plugin: String, bounds: Swap, old: Reading) {
    let Some(own) = tokio::task::try_id() else { return };
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
        match reloader.take_back(&name, own).await {
            Ok(Some(_)) => tracing::warn!(plugin, why, "the version before is back"),
            Ok(None) => tracing::info!(plugin, "it is not taken back: it was changed meanwhile"),
            Err(error) => tracing::error!(plugin, "it cannot be taken back: {error:#}"),
        }
        return;
    }
    if reloader.watches.leave(&plugin, own) {
        tracing::info!(plugin, "the new version did well while it was watched");
    }
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

    use super::{Watches, judge};

    fn reading(calls: u64, faults: u64, micros: u64) -> Reading {
        Reading::of(calls, faults, std::time::Duration::from_micros(micros))
    }

    #[tokio::test]
    async fn only_the_task_that_watches_now_leaves_or_is_ended() {
        let watches = Watches::default();
        let [first, second, third] = [(); 3].map(|()| tokio::spawn(std::future::pending::<()>()));
        watches.begin("a".to_owned(), first.abort_handle());
        watches.begin("a".to_owned(), second.abort_handle());
        assert!(!watches.leave("a", first.id()), "another is in its place");
        assert!(first.await.unwrap_err().is_cancelled());
        assert!(!watches.leave("b", second.id()), "of another plug-in");
        assert!(watches.leave("a", second.id()));
        assert!(!watches.leave("a", second.id()), "just once");
        watches.begin("a".to_owned(), third.abort_handle());
        watches.end("a");
        assert!(third.await.unwrap_err().is_cancelled());
        assert!(!second.is_finished(), "who left goes on");
        second.abort();
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
