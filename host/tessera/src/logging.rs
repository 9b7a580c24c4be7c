//! Log lines go to stderr: for a person on a terminal, else one JSON object each.

use std::io::{IsTerminal, stderr};

use anyhow::{Context, Result};
use tessera_manifest::{Log, LogFormat};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::spans::{self, Spans};

/// Starts logging, and hands spans to who sends them. The environment's `RUST_LOG` goes before the
/// descriptor's level.
pub(crate) fn start(log: &Log, spans: Option<&Spans>) -> Result<()> {
    let level = std::env::var("RUST_LOG").ok().filter(|level| !level.is_empty());
    let level = level.as_deref().unwrap_or(&log.level);
    let filter = EnvFilter::try_new(directives(level)).with_context(|| {
        format!("`[log] level`: `{level}` is no filter; use a level such as \"info\", or \"warn,tessera_http=debug\"")
    })?;
    let human = match log.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => stderr().is_terminal(),
    };
    // Spans for the collector are no part of the log.
    let filter = filter.and(filter_fn(|data| data.target() != spans::TARGET));
    let lines = if human {
        fmt::layer()
            .with_writer(stderr)
            .with_ansi(stderr().is_terminal())
            .with_filter(filter)
            .boxed()
    } else {
        fmt::layer().json().flatten_event(true).with_writer(stderr).with_filter(filter).boxed()
    };
    let sent = spans.map(Spans::layer);
    tracing_subscriber::registry().with(lines).with(sent).try_init()?;
    Ok(())
}

/// A bare level is meant for the server and its plug-ins: of libraries only warnings are wanted.
fn directives(level: &str) -> String {
    match level {
        "info" | "debug" | "trace" => format!("warn,tessera={level},plugin={level}"),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::directives;

    #[test]
    fn a_bare_level_spares_libraries_and_a_filter_is_taken_as_it_is() {
        assert_eq!(directives("debug"), "warn,tessera=debug,plugin=debug");
        assert_eq!(directives("error"), "error");
        assert_eq!(directives("debug,hyper=trace"), "debug,hyper=trace");
    }
}
