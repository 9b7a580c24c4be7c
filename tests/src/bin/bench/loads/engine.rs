//! The engine and the edge without a homeserver: the harness in `tests/engine-bench`, run as a process of its own.

use anyhow::{Result, ensure};
use tessera_tests::binary;
use tokio::process::Command;

use crate::{
    figure::{Figure, Results},
    target::Target,
};

/// Its parts about calls and the edge; `modules` is a load of its own.
const PARTS: [&str; 4] = ["calls", "decision", "noop", "neighbours"];

/// Runs the harness and takes over its figures. Nothing to do against another server.
pub(crate) async fn run(target: &Target) -> Result<Vec<Figure>> {
    if target.is_own() { parts(&PARTS).await } else { Ok(Vec::new()) }
}

/// The figures of some parts of the harness.
pub(crate) async fn parts(parts: &[&str]) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("engine.json");
    let status = Command::new(binary::engine_bench()?)
        .args(parts)
        .arg("--json")
        .arg(&file)
        .arg("--fixtures")
        .arg(binary::fixtures()?)
        .kill_on_drop(true)
        .status()
        .await?;
    ensure!(status.success(), "the harness ended with {status}");
    Ok(Results::read(&file)?.0)
}
