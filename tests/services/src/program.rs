//! Any program that runs until it is told to end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Failure;
use crate::guard::Guard;
use crate::process;

/// A running program. It ends with this, and with the process that started it.
#[derive(Debug)]
pub struct Program {
    guard: Guard,
    log: PathBuf,
}

impl Program {
    /// Starts `command` (program first) and waits until `ready` says so. What it writes goes to `log`
    /// in `folder`, which must be there.
    ///
    /// # Errors
    /// It ends, or is not ready in time; the message carries what it wrote.
    pub fn start(
        folder: &Path,
        command: &[String],
        patience: Duration,
        ready: impl FnMut() -> bool,
    ) -> Result<Self, Failure> {
        let guard = Guard::start_within(folder, command, patience, ready)?;
        Ok(Self { guard, log: folder.join("log") })
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.guard.pid().filter(|pid| process::alive(*pid))
    }

    /// The file with what it wrote.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Asks it to end (SIGTERM) and waits; after `patience` it is killed. Whether it ended by itself.
    #[must_use]
    pub fn stop(self, patience: Duration) -> bool {
        let Some(pid) = self.pid() else { return true };
        process::signal(pid, "TERM");
        process::wait_for(&[pid], patience);
        let ended = !process::alive(pid);
        if !ended {
            process::signal(pid, "KILL");
        }
        ended
    }
}
