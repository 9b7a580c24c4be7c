//! What xtask says: a spinner on a terminal, plain lines elsewhere. All of it on standard error,
//! but for the closing line of the tests.

use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

/// Says that a step begins whose own output follows.
pub(crate) fn step(what: &str) {
    eprintln!("==> {what}");
}

/// Says something about the step under way.
pub(crate) fn note(what: &str) {
    eprintln!("    {what}");
}

/// Says something that stands by itself.
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}

/// Prints an error with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// Whether a person watches.
pub(crate) fn on_terminal() -> bool {
    stderr().is_terminal() && std::env::var_os("CI").is_none()
}

/// A step without output of its own, under way.
pub(crate) struct Spinner {
    bar: Option<ProgressBar>,
    what: String,
    since: Instant,
}

/// Begins a step without output of its own.
pub(crate) fn spinner(what: &str) -> Spinner {
    let bar = on_terminal().then(|| {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    });
    if bar.is_none() {
        step(what);
    }
    Spinner { bar, what: what.to_owned(), since: Instant::now() }
}

impl Spinner {
    /// Ends the step, however it went.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
            step(&format!("{} ({:.1} s)", self.what, self.since.elapsed().as_secs_f32()));
        }
    }
}

/// Shows the last lines of a failed program's output.
pub(crate) fn output_tail(output: &[u8]) {
    /// Enough for the error of apt-get, npm or pip without the pages before it.
    const LINES: usize = 40;
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(LINES)).for_each(|line| note(line));
}
