//! What a person's client does: first and later syncs of a full account, a very large room, search, keys, media.

mod keys;
mod large;
mod media;
mod search;
mod sync;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::{
    Options,
    figure::{Figure, figure},
    measure::{Spent, millis, percentile},
    target::Target,
};

/// Setting a part up is not measured, but must end.
const SETUP: Duration = Duration::from_secs(3600);

pub(crate) async fn run(target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut failed = Vec::new();
    let mut told = |part: &str, result: Result<Vec<Figure>>| match result {
        Ok(part) => {
            tell(&part);
            figures.extend(part);
        }
        // The others take minutes and are still worth their figures.
        Err(error) => failed.push(format!("{part}: {error:#}")),
    };
    told("media", media::run(target, options).await);
    told("keys", keys::run(target, options).await);
    told("sync", sync::run(target, options).await);
    told("large", large::run(target, options).await);
    told("search", search::run(target, options).await);
    if failed.is_empty() {
        return Ok(figures);
    }
    bail!("{}", failed.join("; "))
}

/// A part takes minutes: its figures are shown as soon as they are there.
fn tell(figures: &[Figure]) {
    for figure in figures {
        eprintln!("  … {figure}");
    }
}

/// Rate, CPU each, p50 and p99 of a part.
fn of(name: &str, spent: Spent, latencies: &mut [Duration]) -> Vec<Figure> {
    let count = latencies.len();
    let mut figures = vec![figure(format!("{name}: rate"), spent.rate(count), "/s")];
    figures
        .extend(spent.cpu_ms_each(count).map(|ms| figure(format!("{name}: CPU each"), ms, "ms")));
    for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
        figures.push(figure(
            format!("{name}: {label}"),
            millis(percentile(latencies, share)),
            "ms",
        ));
    }
    figures
}
