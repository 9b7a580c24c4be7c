//! What a person's client does: first and later syncs of a full account, a very large room, search, keys, media.

mod keys;
mod large;
mod media;
mod search;
mod sync;

use std::time::Duration;

use anyhow::Result;

use crate::{
    Options,
    figure::{Figure, figure},
    measure::{Spent, millis, percentile},
    target::Target,
};

/// Setting a part up is not measured, but must end.
const SETUP: Duration = Duration::from_secs(3600);

pub(crate) async fn run(target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
    let mut figures = media::run(target, options).await?;
    tell(&figures);
    for part in [
        keys::run(target, options).await?,
        sync::run(target, options).await?,
        large::run(target, options).await?,
        search::run(target, options).await?,
    ] {
        tell(&part);
        figures.extend(part);
    }
    Ok(figures)
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
