//! What a module costs whoever asks it: the checker that exists in three languages, warm and in a fresh instance; several
//! modules at one hook; the memory of a live instance.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use tessera_engine::{Plugin, PluginLimits, PluginSpec, Tenant};

use crate::{Figure, calls::fire, clock, house::House};

/// Asks as often as it is told.
const ASKER: &str = "bench-asker";
/// Hook calls in one call of the asker: its own cost is nothing beside them.
const TIMES: u32 = 200;
/// The same where each takes a fresh instance.
const TIMES_FRESH: u32 = 20;
/// Tenants whose instances are kept alive to see what one weighs.
const LIVE: u16 = 16;

/// A checker and the names of its figures: warm, fresh, memory.
type Checker = (&'static str, [&'static str; 3]);

const CHECKERS: [Checker; 3] = [
    (
        "checker-rust",
        [
            "module: Rust, warm",
            "module: Rust, fresh instance",
            "module: Rust, memory of a live instance",
        ],
    ),
    (
        "checker-javascript",
        [
            "module: JavaScript, warm",
            "module: JavaScript, fresh instance",
            "module: JavaScript, memory of a live instance",
        ],
    ),
    (
        "checker-python",
        [
            "module: Python, warm",
            "module: Python, fresh instance",
            "module: Python, memory of a live instance",
        ],
    ),
];

pub(crate) async fn run(fixtures: &Path, round: Duration) -> Result<Vec<Figure>> {
    let house = House::with(fixtures, &[ASKER]).await?;
    let asker = house.plugins.first().context("no asker")?.clone();
    let mut figures = Vec::new();

    let alone = install(&house, &[&asker], |_| ())?;
    let nobody = ask(&alone, round, TIMES).await?;
    figures.push(("hook: nobody answers", nobody, "µs"));
    let empty = weight(&house, &[&asker]).await?;

    for (file, [warm, fresh, memory]) in CHECKERS {
        let checker = house.load(fixtures, file)?;
        let both = [&asker, &checker];
        let tenant = install(&house, &both, |_| ())?;
        fire(&tenant, ASKER, "refused", "").await.context(file)?;
        figures.push((warm, ask(&tenant, round, TIMES).await? - nobody, "µs"));
        drop(tenant);
        let tenant = install(&house, &both, |limits| limits.calls_per_instance = 1)?;
        figures.push((fresh, ask(&tenant, round, TIMES_FRESH).await? - nobody, "µs"));
        drop(tenant);
        figures.push((memory, weight(&house, &both).await? - empty, "KiB"));
    }

    let copies =
        (1..=5).map(|n| house.copy(fixtures, "checker-rust", n)).collect::<Result<Vec<_>>>()?;
    let first: Vec<&Plugin> = std::iter::once(&asker).chain(copies.iter().take(1)).collect();
    let all: Vec<&Plugin> = std::iter::once(&asker).chain(&copies).collect();
    for (name, plugins) in [("hook: one module answers", first), ("hook: five modules answer", all)]
    {
        let tenant = install(&house, &plugins, |_| ())?;
        figures.push((name, ask(&tenant, round, TIMES).await?, "µs"));
    }
    Ok(figures)
}

/// A tenant with these plug-ins; `change` may change the limits of all but the asker.
fn install(
    house: &House,
    plugins: &[&Plugin],
    change: impl Fn(&mut PluginLimits),
) -> Result<Arc<Tenant>> {
    let spec = |plugin: &&Plugin| {
        let mut spec = PluginSpec::asked((*plugin).clone());
        // A clock of its own, not the deadline of whoever asks, is what is measured here.
        spec.limits.hook = Duration::from_secs(30);
        if spec.plugin.manifest.name.as_str() != ASKER {
            change(&mut spec.limits);
        }
        spec
    };
    house.tenant("modules", plugins.iter().map(spec).collect())
}

/// Microseconds of CPU for each question.
async fn ask(tenant: &Tenant, round: Duration, times: u32) -> Result<f64> {
    let payload = times.to_string();
    clock::cpu_each(round, times, async || fire(tenant, ASKER, "ask", &payload).await).await
}

/// KiB by which the process grows for each tenant whose plug-ins have been asked and stay warm.
async fn weight(house: &House, plugins: &[&Plugin]) -> Result<f64> {
    // One before, for what is made once: compiled code that is touched, tables of the engine.
    let first = install(house, plugins, |_| ())?;
    fire(&first, ASKER, "ask", "20").await?;
    let before = resident()?;
    let mut tenants = Vec::new();
    for _ in 0..LIVE {
        let tenant = install(house, plugins, |_| ())?;
        fire(&tenant, ASKER, "ask", "20").await?;
        tenants.push(tenant);
    }
    let grown = resident()? - before;
    ensure!(tenants.len() == usize::from(LIVE), "some are gone");
    Ok(grown / f64::from(LIVE))
}

/// Resident KiB of this process.
fn resident() -> Result<f64> {
    #[expect(clippy::cast_precision_loss, reason = "memory stays far below 2^52 bytes")]
    Ok(tessera_tests::proc::rss(std::process::id())? as f64 / 1024.0)
}
