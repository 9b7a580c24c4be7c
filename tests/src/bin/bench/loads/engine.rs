//! The engine and the edge without a homeserver: the harness in `tests/engine-bench`, run as a process of its own.

use anyhow::{Result, ensure};
use tessera_tests::binary;
use tokio::process::Command;

use crate::{
    figure::{Figure, Results},
    target::Target,
};

/// Runs the harness and takes over its figures. Nothing to do against another server.
pub(crate) async fn run(target: &Target) -> Result<Vec<Figure>> {
    if !target.is_own() {
        return Ok(Vec::new());
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("engine.json");
    let status = Command::new(binary::engine_bench()?)
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
