//! Start-up: until the first answer, and memory while idle.

use std::time::Duration;

use anyhow::{Context, Result};
use tessera_tests::{
    proc,
    server::{Options, Server},
};

use crate::{
    figure::{Figure, figure},
    measure::{millis, percentile},
    target::Target,
};

/// Starts that are measured with machine code cached.
const STARTS: usize = 5;
/// How long the process settles before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) async fn run(target: &Target) -> Result<Vec<Figure>> {
    if !target.is_own() {
        return Ok(Vec::new());
    }
    // A cache of its own, so that the first start compiles.
    let mut server = Server::start_with(Options { cache: None, ..Options::release()? }).await?;
    let fresh = server.ready_in();
    let mut cached = Vec::new();
    for _ in 0..STARTS {
        server.stop(Duration::from_secs(30)).await?;
        server.boot().await?;
        cached.push(server.ready_in());
    }
    tokio::time::sleep(SETTLE).await;
    #[expect(clippy::cast_precision_loss, reason = "memory stays far below 2^52 bytes")]
    let rss = proc::rss(server.pid().context("no process")?)? as f64 / f64::from(1 << 20);
    Ok(vec![
        figure("start: everything compiled, first answer", millis(fresh), "ms"),
        figure("start: cached, first answer", millis(percentile(&mut cached, 0.5)), "ms"),
        figure("start: memory idle", rss, "MiB"),
    ])
}
