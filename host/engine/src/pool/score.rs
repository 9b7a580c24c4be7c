//! How one version of a plug-in does, apart from all others of its name: what a swap is judged by.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Classes of times: four for each doubling of microseconds, to somewhat over an hour.
const CLASSES: usize = 128;

/// Counts calls, those that went wrong, and how long they took.
pub(crate) struct Score {
    calls: AtomicU64,
    faults: AtomicU64,
    times: [AtomicU64; CLASSES],
}

impl Default for Score {
    fn default() -> Self {
        Self {
            calls: AtomicU64::default(),
            faults: AtomicU64::default(),
            times: std::array::from_fn(|_| AtomicU64::default()),
        }
    }
}

impl Score {
    pub(super) fn record(&self, fault: bool, took: Duration) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if fault {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(count) = self.times.get(class(took)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Reading {
        Reading {
            calls: self.calls.load(Ordering::Relaxed),
            faults: self.faults.load(Ordering::Relaxed),
            times: self.times.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
        }
    }
}

fn class(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let doublings = micros.ilog2();
    // The two bits below the highest one.
    let quarter = (u128::from(micros) << 2 >> doublings) & 3;
    let class = u128::from(doublings).saturating_mul(4).saturating_add(quarter);
    usize::try_from(class).unwrap_or(usize::MAX).min(CLASSES - 1)
}

/// The longest time of a class in microseconds.
fn longest(class: usize) -> u64 {
    let (doublings, quarter) = (class / 4, class % 4);
    let quarters = u64::try_from(quarter).unwrap_or(3).saturating_add(5);
    (quarters.checked_shl(u32::try_from(doublings).unwrap_or(63)).unwrap_or(u64::MAX)) / 4
}

/// What a version has done up to some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Calls that ended.
    pub calls: u64,
    /// Those that trapped, took too long, were answered with a status from 500, or found the plug-in paused.
    pub faults: u64,
    times: Vec<u64>,
}

impl Reading {
    /// So many calls, of which so many went wrong, and each of which took so long.
    #[must_use]
    pub fn of(calls: u64, faults: u64, took: Duration) -> Self {
        let times = (0..CLASSES).map(|each| if each == class(took) { calls } else { 0 });
        Self { calls, faults, times: times.collect() }
    }

    /// What was done between `earlier` and this.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let times = self.times.iter().enumerate();
        let before = |class: usize| earlier.times.get(class).copied().unwrap_or(0);
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            faults: self.faults.saturating_sub(earlier.faults),
            times: times.map(|(class, count)| count.saturating_sub(before(class))).collect(),
        }
    }

    /// The same over several places.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.calls = self.calls.saturating_add(other.calls);
        self.faults = self.faults.saturating_add(other.faults);
        self.times.resize(self.times.len().max(other.times.len()), 0);
        for (count, more) in self.times.iter_mut().zip(&other.times) {
            *count = count.saturating_add(*more);
        }
        self
    }

    /// The time within which so many of a hundred calls ended, in microseconds, to a fifth too long; 0 without calls.
    #[must_use]
    pub fn percentile_us(&self, percent: u64) -> u64 {
        let all: u64 = self.times.iter().sum();
        if all == 0 {
            return 0;
        }
        let wanted = u128::from(all).saturating_mul(percent.min(100).into()).div_ceil(100);
        let mut seen: u128 = 0;
        for (class, count) in self.times.iter().enumerate() {
            seen = seen.saturating_add((*count).into());
            if seen >= wanted {
                return longest(class);
            }
        }
        longest(CLASSES - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_at_most_a_quarter_too_long_and_never_too_short() {
        for micros in [1, 2, 3, 7, 100, 999, 5_000, 1_000_000] {
            let score = Score::default();
            score.record(false, Duration::from_micros(micros));
            let read = score.read().percentile_us(99);
            assert!(read >= micros && read <= micros * 5 / 4 + 1, "{micros}: {read}");
        }
    }

    #[test]
    fn the_slowest_of_a_hundred_do_not_count_for_the_99th() {
        let score = Score::default();
        (0..99).for_each(|_| score.record(false, Duration::from_micros(100)));
        score.record(true, Duration::from_secs(5));
        let read = score.read();
        assert!(read.percentile_us(99) < 200);
        assert!(read.percentile_us(100) >= 5_000_000);
        assert_eq!((read.calls, read.faults), (100, 1));
    }

    #[test]
    fn what_was_before_does_not_count() {
        let score = Score::default();
        score.record(true, Duration::from_secs(1));
        let before = score.read();
        score.record(false, Duration::from_micros(10));
        let since = score.read().since(&before);
        assert_eq!((since.calls, since.faults), (1, 0));
        assert!(since.percentile_us(99) < 20);
        assert_eq!(since.and(&before).calls, 2);
    }
}
