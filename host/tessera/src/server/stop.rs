//! When to stop.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

/// Signals so soon after the first are the same wish: some tools signal a process and then its group.
const SAME_WISH: Duration = Duration::from_millis(500);

/// SIGTERM and SIGINT.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// From here on signals no longer end the process by themselves.
    pub(crate) fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for one of them and gives its name.
    pub(crate) async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// A second signal ends the process: whoever sends it does not want to wait.
    pub(crate) fn end_at_once_if_asked_again(mut self) {
        let first = Instant::now();
        tokio::spawn(async move {
            let mut signal = self.wait().await;
            while first.elapsed() < SAME_WISH {
                signal = self.wait().await;
            }
            tracing::warn!(signal, "ending at once");
            std::process::exit(130);
        });
    }
}
