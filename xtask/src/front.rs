//! The servers that the tests of clients' operations share.

use crate::{cmd::Cmd, ui, workspace::Workspace};
use anyhow::{Context, Result, bail};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

/// What they run on. The first one is the embedded default.
pub(crate) const KINDS: [&str; 3] = ["sqlite", "postgres", "nodes"];

/// A running server of one kind. It stops with this.
pub(crate) struct Front {
    child: Child,
    /// Its end ends the server.
    input: Option<ChildStdin>,
    /// What tests find it by: name and value.
    pub(crate) variable: (String, String),
    _output: BufReader<ChildStdout>,
}

impl Front {
    /// The command that serves one kind; it wants the environment of tests.
    pub(crate) fn command(workspace: &Workspace, kind: &str) -> Cmd {
        Cmd::new(workspace.target.join("debug/front").to_string_lossy()).args([kind])
    }

    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// It is not built or does not start; what it says goes to standard error.
    pub(crate) fn start(command: &Cmd) -> Result<Self> {
        ui::step("start a server that tests share");
        let mut child = command
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut output = BufReader::new(output.context("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once('=') else {
            bail!("the server for tests did not start\nrun it by hand: {command}");
        };
        let variable = (name.to_owned(), value.to_owned());
        Ok(Self { child, input, variable, _output: output })
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.input.take());
        if let Err(error) = self.child.wait() {
            ui::note(&format!("the server for tests: {error}"));
        }
    }
}
