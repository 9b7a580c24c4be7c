//! Runs a server for tests until its standard input ends: `front sqlite|postgres|nodes`. The first line of its output is
//! `TESSERA_FRONT=URL,…`.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result};
use tessera_tests::front::{Running, VARIABLE};

#[tokio::main]
async fn main() -> Result<()> {
    let kind = std::env::args().nth(1).context("usage: front sqlite|postgres|nodes")?;
    let running = Running::start(&kind).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{VARIABLE}={}", running.urls().join(","))?;
    out.flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    let tail = running.log_tail();
    if !tail.is_empty() {
        eprintln!("--- end of the log of {kind} ---\n{tail}");
    }
    Ok(())
}
