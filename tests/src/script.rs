//! Runs a client script: reads its JSON lines, restarts the server at its checkpoint.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

use crate::server::Server;

/// What a script reported.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Names of the checks that hold.
    pub held: Vec<String>,
    /// Name and detail of those that do not.
    pub failed: Vec<(String, String)>,
    /// Whether the restart point was reached and the server killed there.
    pub restarted: bool,
    /// Whether the script said that it is done.
    pub done: bool,
}

/// Runs the script to its end. At `{"checkpoint":"restart"}` the server is killed with -9 and started again.
///
/// # Errors
/// The script cannot be run or writes something else than JSON lines, or the server does not come back.
pub async fn play(script: Command, server: &mut Server) -> Result<Outcome> {
    play_with(script, async || {
        server.kill9().await?;
        server.boot().await
    })
    .await
}

/// As [`play`], with something else that happens at the checkpoint.
///
/// # Errors
/// The script cannot be run or writes something else than JSON lines, or `restart` fails.
pub async fn play_with(
    mut script: Command,
    mut restart: impl AsyncFnMut() -> Result<()>,
) -> Result<Outcome> {
    let mut child = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("running {script:?}"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
    let mut outcome = Outcome::default();
    while let Some(line) = lines.next_line().await? {
        println!("{line}");
        let value: Value =
            serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))?;
        let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
        if let Some(name) = text("ok") {
            outcome.held.push(name);
        } else if let Some(name) = text("fail") {
            outcome.failed.push((name, text("detail").unwrap_or_default()));
        } else if value.get("checkpoint").is_some() {
            restart().await.context("the restart at the checkpoint")?;
            outcome.restarted = true;
            stdin.write_all(b"restarted\n").await?;
            stdin.flush().await?;
        } else if value.get("done").is_some() {
            outcome.done = true;
        }
    }
    let status = child.wait().await?;
    if status.success() != (outcome.failed.is_empty() && outcome.done) {
        bail!("the script ended with {status} after {outcome:?}");
    }
    Ok(outcome)
}
