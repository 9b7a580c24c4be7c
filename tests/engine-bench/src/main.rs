//! Measures the engine without a server around it, and the edge without a homeserver behind it, on the guests of
//! `tests/fixtures`: calls, calls through the linker, the rooms decision in wasm and native, an empty route, modules.
//!
//! Where two sides are compared they take turns, and the middle of the rounds counts: on a noisy machine
//! what comes later is not to blame for what happened meanwhile.

mod calls;
mod clock;
mod decision;
mod house;
mod modules;
mod neighbours;
mod noop;
mod serve;

use std::{fmt::Write as _, path::PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};

/// What to measure.
#[derive(Debug, Parser)]
#[command(name = "engine-bench", about = "Measures the engine and the edge on fixtures")]
struct Options {
    /// The parts to run; all when none is named.
    parts: Vec<Part>,
    /// Write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The folder of built fixtures.
    #[arg(long, env = "TESSERA_FIXTURES", default_value = "target/fixtures")]
    fixtures: PathBuf,
    /// Milliseconds of one round of one side.
    #[arg(long, default_value_t = 500)]
    round_ms: u64,
    /// Serve the empty routes until standard input closes (the harness's own use).
    #[arg(long, hide = true)]
    serve: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Calls,
    Decision,
    Noop,
    Neighbours,
    Modules,
}

/// A name, a value and its unit.
type Figure = (&'static str, f64, &'static str);

fn main() -> Result<()> {
    let options = Options::parse();
    if options.serve {
        let runtime = tokio::runtime::Runtime::new()?;
        return runtime.block_on(serve::run(&options.fixtures));
    }
    let chosen = match options.parts.as_slice() {
        [] => Part::value_variants(),
        some => some,
    };
    let round = std::time::Duration::from_millis(options.round_ms);
    let mut figures: Vec<Figure> = Vec::new();
    for part in chosen {
        // On this thread alone, so that its CPU time is that of the calls.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let made = match part {
            Part::Calls => runtime.block_on(calls::run(&options.fixtures, round)),
            Part::Decision => runtime.block_on(decision::run(&options.fixtures, round)),
            Part::Noop => noop::run(&options.fixtures, round),
            Part::Neighbours => neighbours::run(&options.fixtures, round),
            Part::Modules => runtime.block_on(modules::run(&options.fixtures, round)),
        };
        figures.extend(made.with_context(|| format!("{part:?}"))?);
    }
    let mut text = String::new();
    for (name, value, unit) in &figures {
        let _ = writeln!(text, "{name}: {value:.2} {unit}");
    }
    print!("{text}");
    if let Some(path) = &options.json {
        let list: Vec<Value> = figures
            .iter()
            .map(|(name, value, unit)| json!({"name": name, "value": value, "unit": unit}))
            .collect();
        std::fs::write(path, format!("{:#}\n", json!({"figures": list})))
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}
