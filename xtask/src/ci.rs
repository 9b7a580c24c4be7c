//! `ci`: everything that must hold before a change lands, cheap checks first.

use crate::{
    cmd::{Cmd, Run},
    test, ui,
    workspace::Workspace,
};
use anyhow::Result;
use std::process::ExitCode;

/// Runs all checks; the first that fails ends it.
///
/// That the WIT packages parse and that the JSON schemas in `docs/schema` are fresh is asked by
/// tests (of this crate and of `tessera-manifest`).
pub(crate) fn ci() -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let cargo = || Cmd::cargo().dir(&workspace.root);
    cargo().args(["fmt", "--all", "--check"]).show("check the format")?;
    cargo()
        .args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
        .show("lint with clippy")?;
    cargo()
        .env("RUSTDOCFLAGS", "-D warnings")
        .args(["doc", "--no-deps", "-p", "tessera-sdk"])
        .show("build the documentation of the SDK")?;
    // Advisories need a download of their own: `cargo deny check advisories` is run by hand.
    optional(cargo(), "deny", &["check", "bans", "licenses", "sources"])?;
    optional(cargo(), "machete", &[])?;
    test::test(None)
}

/// Runs `cargo TOOL` if it is installed, else says that it is not.
fn optional(cargo: Cmd, tool: &str, args: &[&str]) -> Result<()> {
    if cargo.clone().args([tool, "--version"]).read().is_none() {
        let install = format!("cargo install cargo-{tool} --locked");
        ui::step(&format!("cargo {tool}: not installed, skipped (to install it: {install})"));
        return Ok(());
    }
    cargo.args([tool]).args(args.iter().copied()).show(&format!("cargo {tool}"))
}
