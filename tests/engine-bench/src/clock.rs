//! CPU time of this thread, and rounds.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Rounds of each side; the middle one counts.
pub(crate) const ROUNDS: usize = 7;

/// CPU time that this thread has used.
pub(crate) fn thread_cpu() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("schedstat")?;
    let spent = text.split_whitespace().next().and_then(|field| field.parse().ok());
    Ok(Duration::from_nanos(spent.context("malformed schedstat")?))
}

/// Runs `batch`, which does so many operations at a time, for about `round`; microseconds of CPU for each operation.
pub(crate) async fn round(
    round: Duration,
    operations: u32,
    batch: &mut impl AsyncFnMut() -> Result<()>,
) -> Result<f64> {
    let (end, before) = (Instant::now() + round, thread_cpu()?);
    let mut done = 0.0;
    while done == 0.0 || Instant::now() < end {
        batch().await?;
        done += f64::from(operations);
    }
    let spent = thread_cpu()?.saturating_sub(before);
    Ok(spent.as_secs_f64() * 1e6 / done)
}

/// The middle of [`ROUNDS`] rounds, after one that warms up.
pub(crate) async fn cpu_each(
    each: Duration,
    operations: u32,
    mut batch: impl AsyncFnMut() -> Result<()>,
) -> Result<f64> {
    round(each / 4, operations, &mut batch).await?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        rounds.push(round(each, operations, &mut batch).await?);
    }
    Ok(middle(&mut rounds))
}

/// The median; of an even number of values the upper one of the two.
pub(crate) fn middle(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{middle, round, thread_cpu};

    #[test]
    fn the_middle_is_not_moved_by_an_outlier() {
        assert!((middle(&mut [3.0, 900.0, 1.0]) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn work_costs_cpu_time() {
        let before = thread_cpu().unwrap();
        let mut x = 1_u64;
        while thread_cpu().unwrap() == before {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
    }

    #[tokio::test]
    async fn a_round_does_at_least_one_batch() {
        let mut batches = 0;
        let mut batch = async || {
            batches += 1;
            Ok(())
        };
        round(Duration::ZERO, 10, &mut batch).await.unwrap();
        assert_eq!(batches, 1);
    }
}
