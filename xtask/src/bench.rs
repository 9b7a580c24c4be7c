//! `bench`: builds everything optimised, then becomes the harness in `tests/src/bin/bench.rs`.

use crate::{
    cmd::{Cmd, Run},
    guests, host,
    plugins::Languages,
    run, services, ui,
    workspace::Workspace,
};
use anyhow::Result;

/// Loads that start PostgreSQL and NATS.
const NEED_SERVICES: [&str; 1] = ["nodes"];
/// Loads that run modules in JavaScript and Python.
const NEED_SCRIPTS: [&str; 1] = ["modules"];

/// Runs the harness with `args`.
pub(crate) fn bench(args: Vec<String>) -> Result<()> {
    let workspace = Workspace::load()?;
    let every = args.iter().all(|arg| arg.starts_with('-'));
    let any_of = |loads: &[&str]| every || args.iter().any(|arg| loads.contains(&arg.as_str()));
    let languages = if any_of(&NEED_SCRIPTS) { Languages::All } else { Languages::Rust };
    guests::build(&workspace, &[], languages)?;
    guests::build_fixtures(&workspace, languages)?;
    if any_of(&NEED_SERVICES) {
        services::ensure()?;
    }
    host::need_c_compiler()?;
    Cmd::cargo()
        .args(["build", "--release", "--workspace"])
        .args(["--bin", "tessera", "--bin", "bench", "--bin", "engine-bench"])
        .dir(&workspace.root)
        .show("build the server and the harnesses (release; a first build takes some minutes)")?;
    let harness = Cmd::new(workspace.target.join("release/bench").to_string_lossy())
        .env("TESSERA_BIN", workspace.binary(true).to_string_lossy())
        .env("TESSERA_PLUGINS", workspace.plugins().to_string_lossy())
        .env("TESSERA_FIXTURES", workspace.fixtures().to_string_lossy())
        .env(
            "TESSERA_ENGINE_BENCH",
            workspace.target.join("release/engine-bench").to_string_lossy(),
        )
        .dir(&workspace.root)
        .args(args);
    ui::step(&format!("run the benchmarks: {harness}"));
    run::replace(&harness)
}
