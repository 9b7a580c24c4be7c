//! A rate with a burst, in one word: the moment up to which all that was taken is paid for.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was taken, at a rate that is given with each call. Moments are nanoseconds since any beginning.
#[derive(Default)]
pub(crate) struct Rate {
    paid: AtomicU64,
}

/// How long a cost takes to be paid for.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "saturates; a cost is far below 2^52"
)]
fn time(cost: u64, rate: f64) -> u64 {
    (cost as f64 / rate.max(1e-9)) as u64
}

impl Rate {
    /// Takes `cost`, whether there is room or not. `burst`: nanoseconds of the rate that may be taken at once.
    pub(crate) fn take(&self, now: u64, cost: u64, rate: f64, burst: u64) {
        let time = time(cost, rate);
        let step = |paid: u64| Some(Self::from(paid, now, burst).saturating_add(time));
        // Always some.
        let _ = self.paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }

    /// Takes `cost` if there is room; the error is how long until there is. One cost always fits into the burst: of a
    /// rate below it, each takes its time.
    pub(crate) fn try_take(&self, now: u64, cost: u64, rate: f64, burst: u64) -> Result<(), u64> {
        let time = time(cost, rate);
        let burst = burst.max(time);
        let limit = Self::at(now);
        let after = |paid: u64| Self::from(paid, now, burst).saturating_add(time);
        let step = |paid: u64| (after(paid) <= limit).then(|| after(paid));
        match self.paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(_) => Ok(()),
            Err(paid) => Err(after(paid).saturating_sub(limit)),
        }
    }

    /// How long until all that was taken is paid for, beyond the burst; 0 if it is.
    pub(crate) fn over(&self, now: u64) -> u64 {
        let paid = self.paid.load(Ordering::Relaxed);
        paid.saturating_sub(now.saturating_add(OFFSET))
    }

    /// Where `paid` stands at the least: a burst before now.
    fn from(paid: u64, now: u64, burst: u64) -> u64 {
        paid.max(Self::at(now).saturating_sub(burst))
    }

    fn at(now: u64) -> u64 {
        now.saturating_add(OFFSET)
    }
}

/// Moments are kept this much later, so that a burst before the first one is not below zero: a century.
const OFFSET: u64 = 100 * 365 * 24 * 3_600 * 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::Rate;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_is_free_and_what_comes_after_is_paid_in_time() {
        let rate = Rate::default();
        // Half a second each second, ten seconds' worth at once.
        rate.take(0, 5 * SECOND, 0.5, 10 * SECOND);
        assert_eq!(rate.over(0), 0);
        rate.take(0, SECOND, 0.5, 10 * SECOND);
        assert_eq!(rate.over(0), 2 * SECOND);
        assert_eq!(rate.over(SECOND), SECOND);
        assert_eq!(rate.over(2 * SECOND), 0);
        // A rest gives the burst back, and no more than that.
        rate.take(100 * SECOND, 6 * SECOND, 0.5, 10 * SECOND);
        assert_eq!(rate.over(100 * SECOND), 2 * SECOND);
    }

    #[test]
    fn what_has_no_room_is_not_taken() {
        let rate = Rate::default();
        // Three each minute.
        let minute = 60 * SECOND;
        for _ in 0..3 {
            assert_eq!(rate.try_take(0, minute, 3.0, minute), Ok(()));
        }
        assert_eq!(rate.try_take(0, minute, 3.0, minute), Err(20 * SECOND));
        assert_eq!(rate.try_take(5 * SECOND, minute, 3.0, minute), Err(15 * SECOND));
        assert_eq!(rate.try_take(20 * SECOND, minute, 3.0, minute), Ok(()));
        assert!(rate.try_take(20 * SECOND, minute, 3.0, minute).is_err());
    }

    #[test]
    fn of_a_rate_below_one_in_its_burst_each_takes_its_time() {
        let rate = Rate::default();
        // One each four minutes, which is a quarter of one in a minute.
        let minute = 60 * SECOND;
        assert_eq!(rate.try_take(0, minute, 0.25, minute), Ok(()));
        assert_eq!(rate.try_take(minute, minute, 0.25, minute), Err(3 * minute));
        assert_eq!(rate.try_take(4 * minute, minute, 0.25, minute), Ok(()));
        assert!(rate.try_take(4 * minute, minute, 0.25, minute).is_err());
        // One a day, at the very beginning.
        let daily = Rate::default();
        assert_eq!(daily.try_take(0, minute, 1.0 / 1440.0, minute), Ok(()));
        assert!(daily.try_take(0, minute, 1.0 / 1440.0, minute).is_err());
    }
}
