//! What a tenant costs, and what it feels of another one that floods the engine.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tessera_engine::Tenant;

use crate::{
    Figure,
    calls::fire,
    house::{CALLER, House},
};

/// Calls of the tenant that floods, at once.
const FLOOD: usize = 64;
/// One of them: some tens of milliseconds of CPU in two plug-ins.
const HEAVY: &str = "300 200";
/// Tenants made to see what one costs.
const TENANTS: u32 = 200;

pub(crate) fn run(fixtures: &Path, round: Duration) -> Result<Vec<Figure>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // As the server has it.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.saturating_add(1))
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // A task, as calls of a server are.
        let fixtures = fixtures.to_owned();
        tokio::spawn(async move { measure(&fixtures, round).await }).await?
    })
}

async fn measure(fixtures: &Path, round: Duration) -> Result<Vec<Figure>> {
    let house = House::open(fixtures, |_| ()).await?;
    let mut figures = Vec::new();

    let (before, start) = (resident()?, Instant::now());
    let tenants = (0..TENANTS)
        .map(|number| house.another(&format!("t{number}")))
        .collect::<Result<Vec<_>>>()?;
    let each = start.elapsed().as_secs_f64() * 1e6 / f64::from(TENANTS);
    figures.push(("tenant: made and linked, two plug-ins", each, "µs"));
    let grown = resident()? - before;
    figures.push((
        "tenant: memory of one that was never called",
        grown / f64::from(TENANTS),
        "KiB",
    ));
    drop(tenants);

    let quiet = house.another("quiet")?;
    let flood = house.another("flood")?;
    for (payload, alone, beside) in [
        ("1 0", "neighbour: short call alone, p99", "neighbour: short call beside a flood, p99"),
        (
            "20 200",
            "neighbour: longer call alone, p99",
            "neighbour: longer call beside a flood, p99",
        ),
    ] {
        figures.push((alone, p99(&quiet, payload, round).await?, "µs"));
        let stop = Arc::new(AtomicBool::new(false));
        let floods: Vec<_> = (0..FLOOD)
            .map(|_| {
                let (flood, stop) = (Arc::clone(&flood), Arc::clone(&stop));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        fire(&flood, CALLER, "call", HEAVY).await?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        // Until it is there in full.
        while flood.usage().cpu_seconds < 0.5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        figures.push((beside, p99(&quiet, payload, round).await?, "µs"));
        stop.store(true, Ordering::Relaxed);
        for one in floods {
            one.await??;
        }
    }
    Ok(figures)
}

/// Microseconds within which 99 of 100 calls end, one at a time with a pause between, as of somebody who clicks.
async fn p99(tenant: &Tenant, payload: &str, round: Duration) -> Result<f64> {
    let mut took = Vec::new();
    let end = Instant::now() + 10 * round;
    while Instant::now() < end {
        let start = Instant::now();
        fire(tenant, CALLER, "call", payload).await?;
        took.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    took.sort_unstable();
    let at = took.len() * 99 / 100;
    Ok(took.get(at).context("no calls")?.as_secs_f64() * 1e6)
}

/// KiB of this process in memory.
fn resident() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status").context("status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let field = line.and_then(|rest| rest.split_whitespace().next());
    field.and_then(|field| field.parse().ok()).context("malformed status")
}
