//! `build` and `run`.

use crate::{cmd::Cmd, guests, host, plugins::Languages, ui, workspace::Workspace};
use anyhow::{Context, Result};

/// Builds plug-ins and server, or only plug-ins: all of them, or those in `only` if it names any.
pub(crate) fn build(release: bool, guests_only: bool, only: &[String]) -> Result<()> {
    let workspace = Workspace::load()?;
    guests::build(&workspace, only, Languages::All)?;
    if !guests_only && only.is_empty() {
        host::build(&workspace, release)?;
    }
    Ok(())
}

/// Builds what a server needs: no modules in JavaScript and Python, whose tools take their time.
pub(crate) fn build_server(release: bool) -> Result<Workspace> {
    let workspace = Workspace::load()?;
    guests::build(&workspace, &[], Languages::Rust)?;
    host::build(&workspace, release)?;
    Ok(workspace)
}

/// Builds the guests of tests and benchmarks.
pub(crate) fn fixtures() -> Result<()> {
    guests::build_fixtures(&Workspace::load()?, Languages::All)
}

/// Builds, then becomes `tessera run`, so that signals reach the server and its exit code is ours.
pub(crate) fn run(release: bool, args: Vec<String>) -> Result<()> {
    let workspace = build_server(release)?;
    let tessera = Cmd::new(workspace.binary(release).to_string_lossy())
        .args(["run"])
        .args(plugins_flag(&workspace, &args))
        .args(args);
    ui::step(&format!("start: {tessera}"));
    replace(&tessera)
}

/// Names the plug-ins just built, unless the caller names some or a descriptor that does.
fn plugins_flag(workspace: &Workspace, args: &[String]) -> Vec<String> {
    let names = |arg: &String| {
        ["--plugins", "--config"]
            .iter()
            .any(|flag| arg == flag || arg.starts_with(&format!("{flag}=")))
    };
    if args.iter().any(names) {
        return Vec::new();
    }
    vec!["--plugins".into(), workspace.plugins().to_string_lossy().into()]
}

/// Becomes `cmd`; returns only if it cannot start.
#[cfg(unix)]
pub(crate) fn replace(cmd: &Cmd) -> Result<()> {
    use std::os::unix::process::CommandExt;
    Err(cmd.command().exec()).with_context(|| format!("cannot start: {cmd}"))
}

/// Runs `cmd` and ends with its exit code.
#[cfg(not(unix))]
pub(crate) fn replace(cmd: &Cmd) -> Result<()> {
    let status = cmd.command().status().with_context(|| format!("cannot start: {cmd}"))?;
    std::process::exit(status.code().unwrap_or(1));
}
