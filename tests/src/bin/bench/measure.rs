//! Measuring: CPU over a window, percentiles, workers that run until a count or a time is reached.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tessera_tests::proc;

/// Wall time and the server's CPU time between two moments.
pub(crate) struct Window {
    pid: Option<u32>,
    cpu: Option<Duration>,
    started: Instant,
}

/// What a window saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) wall: Duration,
    /// `None` without a process id.
    pub(crate) cpu: Option<Duration>,
}

impl Window {
    pub(crate) fn open(pid: Option<u32>) -> Result<Self> {
        Ok(Self { pid, cpu: pid.map(proc::cpu).transpose()?, started: Instant::now() })
    }

    pub(crate) fn close(self) -> Result<Spent> {
        let wall = self.started.elapsed();
        let now = self.pid.map(proc::cpu).transpose()?;
        Ok(Spent { wall, cpu: now.zip(self.cpu).map(|(now, then)| now.saturating_sub(then)) })
    }
}

impl Spent {
    /// Milliseconds of CPU for each of `count` operations.
    pub(crate) fn cpu_ms_each(self, count: usize) -> Option<f64> {
        self.cpu.map(|cpu| millis(cpu) / as_f64(count.max(1)))
    }

    /// Operations a second.
    pub(crate) fn rate(self, count: usize) -> f64 {
        as_f64(count) / self.wall.as_secs_f64()
    }
}

/// Runs `work(worker, turn)` on `workers` tasks until `most` turns were taken or the time is over, and gives the
/// latency of each turn.
///
/// # Errors
/// The first error of any turn.
pub(crate) async fn run<F, Fut>(
    workers: usize,
    most: usize,
    patience: Duration,
    work: F,
) -> Result<Vec<Duration>>
where
    F: Fn(usize, usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    let turns = Arc::new(AtomicUsize::new(0));
    let end = Instant::now() + patience;
    let tasks: Vec<_> = (0..workers)
        .map(|worker| {
            let (turns, work) = (turns.clone(), work.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while Instant::now() < end {
                    let turn = turns.fetch_add(1, Ordering::Relaxed);
                    if turn >= most {
                        break;
                    }
                    let started = Instant::now();
                    work(worker, turn).await?;
                    latencies.push(started.elapsed());
                }
                Ok::<_, anyhow::Error>(latencies)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.context("a worker panicked")??);
    }
    anyhow::ensure!(!all.is_empty(), "nothing was done within {patience:?}");
    Ok(all)
}

/// The value below which `share` (0 to 1) of the values lie.
pub(crate) fn percentile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index below the length"
    )]
    let index = (as_f64(last) * share).round() as usize;
    values.get(index).copied().unwrap_or_default()
}

/// Milliseconds with fractions.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A count as a number that divides.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(crate) fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{percentile, run};

    #[test]
    fn percentiles_come_from_the_sorted_values() {
        let mut values: Vec<_> = (0..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut values, 0.5), Duration::from_millis(50));
        assert_eq!(percentile(&mut values, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&mut [], 0.5), Duration::ZERO);
    }

    #[tokio::test]
    async fn workers_stop_at_the_count() {
        let latencies = run(4, 10, Duration::from_secs(60), |_, _| async { Ok(()) }).await.unwrap();
        assert_eq!(latencies.len(), 10);
    }
}
