//! `tessera plugin record`

use std::{
    fs::OpenOptions,
    io::{BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use anyhow::{Context, Result};
use clap::Args;
use tessera_engine::Round;
use tessera_manifest::PluginName;

use super::ask;
use crate::{admin::ModuleQuestion, cli::Settings};

/// Records what a module is asked and what it answers. The file may hold what users wrote and the secrets that they logged in with:
/// only its owner can read it.
#[derive(Debug, Args)]
pub(crate) struct Record {
    /// The module.
    name: PluginName,
    /// The file to make, a round on each line; `tessera plugin test` plays back what lies in a module's folder `golden`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Rounds at most.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds to wait for them.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Where the server's data folder is.
    #[command(flatten)]
    settings: Settings,
}

/// Records rounds of a running server.
pub(crate) fn run(arguments: &Record) -> Result<()> {
    let Record { name, out, rounds, seconds, settings } = arguments;
    // Before anything is asked: a file that cannot be made should not cost the wait.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .with_context(|| format!("cannot make {}", out.display()))?;
    eprintln!("record {name}: up to {rounds} rounds, {seconds} s at most");
    let recorded: Result<Vec<Round>> = ask(
        settings,
        ModuleQuestion::Record {
            tenant: settings.server_name.as_ref().map(ToString::to_string),
            name: name.to_string(),
            rounds: *rounds,
            seconds: *seconds,
        },
    );
    let recorded = recorded.inspect_err(|_| drop(std::fs::remove_file(out)))?;
    let mut file = BufWriter::new(file);
    for round in &recorded {
        writeln!(file, "{}", serde_json::to_string(round)?)?;
    }
    file.flush().with_context(|| format!("cannot write {}", out.display()))?;
    println!("{}: {} rounds", out.display(), recorded.len());
    Ok(())
}
