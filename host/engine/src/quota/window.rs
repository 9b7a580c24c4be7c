//! A sum over the last seconds, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds that are kept; more than are ever asked for.
const SECONDS: usize = 16;
/// Bits of the sum within one second: 68 seconds of it, more than there are cores on most machines.
const SUM_BITS: u32 = 36;
const SUM_MAX: u64 = (1 << SUM_BITS) - 1;

/// Nanoseconds used in each of the last seconds. A word holds the second's number and what was used in it.
#[derive(Default)]
pub(crate) struct Window {
    seconds: [AtomicU64; SECONDS],
}

impl Window {
    /// Adds at a moment, in nanoseconds since any beginning.
    pub(crate) fn add(&self, now: u64, amount: u64) {
        let second = number(now);
        let Some(word) = self.seconds.get(place(second)) else { return };
        let step = |old: u64| {
            let before = if old >> SUM_BITS == second { old & SUM_MAX } else { 0 };
            Some((second << SUM_BITS) | before.saturating_add(amount).min(SUM_MAX))
        };
        // Always some.
        let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }

    /// What was added in the second of `now` and those before it, `seconds` in all.
    pub(crate) fn sum(&self, now: u64, seconds: u64) -> u64 {
        let last = number(now);
        (0..seconds.min(SECONDS as u64))
            .filter_map(|back| last.checked_sub(back))
            .filter_map(|second| {
                let word = self.seconds.get(place(second))?.load(Ordering::Relaxed);
                (word >> SUM_BITS == second).then_some(word & SUM_MAX)
            })
            .fold(0, u64::saturating_add)
    }
}

/// The second's number. One more than it is, so that an empty word is none of them.
fn number(now: u64) -> u64 {
    (now / 1_000_000_000).saturating_add(1) & (u64::MAX >> SUM_BITS)
}

fn place(second: u64) -> usize {
    (second % SECONDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::Window;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn only_the_last_seconds_count() {
        let window = Window::default();
        for second in 0..30 {
            window.add(second * SECOND + 5, second);
        }
        assert_eq!(window.sum(29 * SECOND, 1), 29);
        assert_eq!(window.sum(29 * SECOND, 2), 29 + 28);
        assert_eq!(window.sum(29 * SECOND, 10), (20..30).sum::<u64>());
        assert_eq!(window.sum(31 * SECOND, 3), 29);
        assert_eq!(window.sum(60 * SECOND, 10), 0);
    }

    #[test]
    fn much_in_one_second_does_not_run_over_into_its_number() {
        let window = Window::default();
        window.add(0, u64::MAX);
        window.add(0, 100 * SECOND);
        assert!(window.sum(0, 1) >= 60 * SECOND);
        assert_eq!(window.sum(SECOND, 1), 0);
    }
}
