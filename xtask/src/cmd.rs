//! Running a command so that whoever watches sees what it does.

use crate::ui;
use anyhow::{Context, Result, bail};
use std::{io::Write, process::Stdio};

pub(crate) use tessera_package::build::Cmd;

/// Runs a [`Cmd`].
pub(crate) trait Run {
    /// Runs with output shown as it comes; a non-zero exit is an error that prints the command.
    fn show(&self, what: &str) -> Result<()>;
    /// Runs with a spinner; output is shown only if it fails.
    fn quiet(&self, what: &str) -> Result<()>;
    /// Runs, shows both outputs as they come and hands each line to `line`. Returns success.
    fn tee(&self, what: &str, line: impl FnMut(&str)) -> Result<bool>;
}

impl Run for Cmd {
    fn show(&self, what: &str) -> Result<()> {
        ui::step(what);
        let status = self.command().stdin(Stdio::null()).status();
        let status = status.with_context(|| self.cannot_start())?;
        if !status.success() {
            bail!("{what}: failed ({status})\nrun it by hand: {self}");
        }
        Ok(())
    }

    fn quiet(&self, what: &str) -> Result<()> {
        let spinner = ui::spinner(what);
        let output = self.command().stdin(Stdio::null()).output();
        spinner.finish();
        let output = output.with_context(|| self.cannot_start())?;
        if !output.status.success() {
            ui::output_tail(&output.stdout);
            ui::output_tail(&output.stderr);
            bail!("{what}: failed ({})\nrun it by hand: {self}", output.status);
        }
        Ok(())
    }

    fn tee(&self, what: &str, mut line: impl FnMut(&str)) -> Result<bool> {
        ui::step(what);
        // One pipe for both outputs, so that a runner's lines keep their order.
        let (read, write) = std::io::pipe().context("cannot make a pipe")?;
        let mut command = self.command();
        command.stdin(Stdio::null());
        command.stdout(write.try_clone().context("cannot make a pipe")?).stderr(write);
        let mut child = command.spawn().with_context(|| self.cannot_start())?;
        drop(command); // holds the writing ends: the pipe would never end
        for text in tessera_package::build::lines(read) {
            let text = text?;
            writeln!(std::io::stderr().lock(), "{text}").ok();
            line(&text);
        }
        Ok(child.wait()?.success())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tee_hands_over_each_line_and_the_outcome() {
        let mut seen = Vec::new();
        let ok = Cmd::new("sh")
            .args(["-c", "echo one; echo two >&2; exit 3"])
            .tee("test", |line| seen.push(line.to_owned()))
            .unwrap();
        assert_eq!((ok, seen), (false, vec!["one".to_owned(), "two".to_owned()]));
    }
}
