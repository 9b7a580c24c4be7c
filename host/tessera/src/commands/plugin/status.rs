//! `tessera plugin status`

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::{ask_server, size};
use crate::{admin::Question, cli::Settings, plain::plain};

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Where the server's data folder is.
    #[command(flatten)]
    settings: Settings,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Shows how the plug-ins of a running server are.
pub(crate) fn run(arguments: &Status) -> Result<()> {
    let Status { settings, json } = arguments;
    let tenant = settings.server_name.as_ref().map(ToString::to_string);
    let answer: Vec<Value> = ask_server(settings, &Question::Status { tenant })?;
    if *json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    for plugin in answer {
        print!("{}", show(&plugin));
    }
    Ok(())
}

fn show(plugin: &Value) -> String {
    let mut lines = String::new();
    let text = |pointer| match plugin.pointer(pointer) {
        // Reasons are the plug-in's own words.
        Some(Value::String(text)) => plain(text),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let number = |pointer| plugin.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let (name, state) = (text("/name"), text("/health/state"));
    let _ = writeln!(
        lines,
        "{name} {}  {state}  {} instances ({} idle)  {}",
        text("/version"),
        text("/instances"),
        text("/idle"),
        size(usize::try_from(number("/size")).unwrap_or(usize::MAX)),
    );
    if number("/figures/calls") > 0 {
        let _ = writeln!(
            lines,
            "  {} calls, {} of them failed; p50 {}, p99 {}",
            number("/figures/calls"),
            number("/figures/faults"),
            time(number("/figures/p50-us")),
            time(number("/figures/p99-us")),
        );
    }
    let reason = text("/health/reason");
    match state.as_str() {
        "paused" => {
            _ = writeln!(
                lines,
                "  it failed again and again: {reason}\n  it is tried again in {}; `tessera plugin release {name}` tries now, `tessera plugin log {name}` tells more",
                time(number("/health/left_ms").saturating_mul(1000))
            )
        }
        "quarantined" => {
            _ = writeln!(
                lines,
                "  it takes no calls, because it failed again and again: {reason}\n  `tessera plugin log {name}` tells more; another version (`tessera plugin swap {name} FILE`) or `tessera plugin release {name}` ends it"
            )
        }
        _ => {}
    }
    let faults = number("/faults/count");
    if faults > 0 {
        let _ = writeln!(
            lines,
            "  {faults} faults since the tenant woke; the last in {}: {}",
            text("/faults/last/function"),
            text("/faults/last/reason")
        );
    }
    if let Some(trial) = plugin.get("trial").filter(|trial| !trial.is_null()) {
        let part = match trial.get("share").and_then(Value::as_u64) {
            None => "as a shadow".to_owned(),
            Some(share) => format!("with {}.{:02} % of the calls", share / 100, share % 100),
        };
        let _ = writeln!(
            lines,
            "  beside it {} {part}: {} calls, {} of them failed; p99 {}",
            text("/trial/version"),
            number("/trial/figures/calls"),
            number("/trial/figures/faults"),
            time(number("/trial/figures/p99-us")),
        );
    }
    lines
}

/// Microseconds for a person.
fn time(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..1_000_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::show;

    #[test]
    fn a_reason_stays_in_its_line() {
        let reason = "bad\nrooms 1.0.0  healthy\u{1b}[2J";
        let shown = show(&json!({
            "name": "a", "version": "1.0.0",
            "health": {"state": "quarantined", "reason": reason},
            "faults": {"count": 1, "last": {"function": "f", "reason": reason}},
        }));
        assert_eq!(shown.lines().count(), 4, "{shown}");
        let said = "bad\u{fffd}rooms 1.0.0  healthy\u{fffd}[2J\n";
        assert_eq!(shown.matches(said).count(), 2, "{shown}");
    }
}
