//! `fuzz`: the targets of `tests/fuzz`, guided by coverage, for a time.
//!
//! The same properties are asked of seeded mutations in the ordinary tests; this looks for what those do not reach.

use crate::{
    cmd::{Cmd, Run},
    ui,
    workspace::Workspace,
};
use anyhow::{Context, Result, bail};
use std::{fs, path::Path};

/// What each target is fed to.
const TARGETS: [(&str, &str); 4] = [
    ("manifest", "plugin.toml and tessera.toml"),
    ("sql", "the SQL fence"),
    ("values", "the codec of values between nodes"),
    ("edge", "paths, queries, ranges and hosts of requests"),
];

/// Runs one target or all for so many seconds each; an error if a property did not hold.
pub(crate) fn fuzz(only: Option<&str>, seconds: u32) -> Result<()> {
    let wanted: Vec<_> =
        TARGETS.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)).collect();
    if wanted.is_empty() {
        let known = TARGETS.map(|(name, _)| name).join(", ");
        bail!("no fuzz target `{}`; there are: {known}", only.unwrap_or_default());
    }
    let workspace = Workspace::load()?;
    let tools = workspace.target.join("tools");
    install(&tools)?;
    // The versions that the server is built with; cargo drops what the targets do not need.
    let folder = workspace.root.join("tests/fuzz");
    fs::copy(workspace.root.join("Cargo.lock"), folder.join("Cargo.lock"))
        .context("cannot copy Cargo.lock into tests/fuzz")?;
    let mut broken = Vec::new();
    for (name, what) in wanted {
        if run(&workspace, &folder, &tools, name, seconds)? {
            println!("{name}: held for {seconds} s ({what})");
        } else {
            println!(
                "{name}: DOES NOT HOLD; the input is in {}",
                folder.join("artifacts").join(name).display()
            );
            broken.push(*name);
        }
    }
    match broken.as_slice() {
        [] => Ok(()),
        _ => bail!("a property does not hold: {}", broken.join(", ")),
    }
}

fn install(tools: &Path) -> Result<()> {
    if tools.join("bin/cargo-fuzz").is_file() {
        return Ok(());
    }
    let root = tools.display().to_string();
    Cmd::cargo()
        .args(["install", "cargo-fuzz", "--locked", "--root", &root])
        .show("install cargo-fuzz, once (takes a minute)")
}

/// Builds a target and runs it. Gives whether all that it asks holds.
fn run(
    workspace: &Workspace,
    folder: &Path,
    tools: &Path,
    name: &str,
    seconds: u32,
) -> Result<bool> {
    // What is found stays below the target folder; the corpus in the repository is only read.
    let found = workspace.target.join("fuzz/corpus").join(name);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let target = workspace.target.join("fuzz").display().to_string();
    let fuzz = |verb: &str| {
        Cmd::new("cargo")
            .dir(folder)
            .path_first(&tools.join("bin"))
            // Counters are an unstable flag of the compiler; without sanitizers the stable one has all that is needed.
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["fuzz", verb, "--fuzz-dir", ".", "--target-dir", &target, "--sanitizer", "none"])
            .args(["--no-default-features", "--features", name, name])
    };
    fuzz("build").show(&format!("build the fuzz target {name}"))?;
    let corpus = folder.join("corpus").join(name).display().to_string();
    let run = fuzz("run").args([found.display().to_string(), corpus]).args([
        "--".to_owned(),
        format!("-max_total_time={seconds}"),
        "-max_len=4096".to_owned(),
        "-timeout=10".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]);
    let mut runs = String::new();
    let ok = run.tee(&format!("run the fuzz target {name} for {seconds} s"), |line| {
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            runs = count.trim().to_owned();
        }
    })?;
    if ok && runs.is_empty() {
        bail!("the fuzz target {name} ended without having run anything\nrun it by hand: {run}");
    }
    ui::note(&format!("{name}: {runs} inputs"));
    Ok(ok)
}
