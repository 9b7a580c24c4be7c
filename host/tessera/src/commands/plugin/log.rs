//! `tessera plugin log`

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tessera_manifest::PluginName;

use super::ask;
use crate::{admin::ModuleQuestion, cli::Settings, plain::plain};

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Only of this plug-in.
    name: Option<PluginName>,
    /// Entries at most.
    #[arg(long, default_value_t = 100)]
    last: usize,
    /// Go on as entries appear.
    #[arg(long)]
    follow: bool,
    /// As JSON, one entry on each line.
    #[arg(long)]
    json: bool,
    /// Where the server's data folder is.
    #[command(flatten)]
    settings: Settings,
}

/// One thing that a plug-in refused, was refused, or that went wrong in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Logged {
    pub(crate) tenant: String,
    pub(crate) plugin: String,
    /// As the engine wrote it down.
    #[serde(flatten)]
    pub(crate) entry: Value,
}

/// How often it is asked for more.
const BEAT: Duration = Duration::from_secs(1);

/// Shows what plug-ins refused, and what went wrong in them.
pub(crate) fn run(arguments: &Log) -> Result<()> {
    let Log { name, last, follow, json, settings } = arguments;
    let tenant = settings.server_name.as_ref().map(ToString::to_string);
    let name = name.as_ref().map(ToString::to_string);
    let mut seen: BTreeSet<String> = BTreeSet::new();
    loop {
        let question = ModuleQuestion::Log { tenant: tenant.clone(), name: name.clone() };
        let mut entries: Vec<Logged> = ask(settings, question)?;
        if seen.is_empty() {
            entries.drain(..entries.len().saturating_sub(*last));
        }
        let mut now = BTreeSet::new();
        for entry in entries {
            let line = serde_json::to_string(&entry)?;
            if !seen.contains(&line) {
                println!("{}", if *json { line.clone() } else { show(&entry) });
            }
            now.insert(line);
        }
        if !follow {
            return Ok(());
        }
        // Those that the server still keeps: no more are needed to tell what is new.
        seen = now;
        seen.insert(String::new());
        std::thread::sleep(BEAT);
    }
}

fn show(logged: &Logged) -> String {
    // Names come from whoever calls, reasons from the plug-in.
    let raw = |key: &str| logged.entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let text = |key: &str| plain(raw(key));
    let at = logged.entry.get("at-ms").and_then(Value::as_u64).unwrap_or_default();
    let mut line = format!(
        "{}  {}  {} {}  {}",
        moment(at),
        logged.tenant,
        logged.plugin,
        text("version"),
        text("event")
    );
    for (name, key) in [("in", "function"), ("limit", "limit"), ("request", "request-id")] {
        if !text(key).is_empty() {
            line.push_str(&format!("  {name} {}", text(key)));
        }
    }
    // What a trap leaves has many lines: each is set in, so that none passes for an entry.
    for reason in raw("reason").lines() {
        line.push_str(&format!("\n    {}", plain(reason)));
    }
    line
}

/// `2026-11-23T10:15:00.123Z` of milliseconds since the epoch.
fn moment(ms: u64) -> String {
    let since = Duration::from_millis(ms.min(LAST_MS));
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since).to_string()
}

/// The end of the year 9999: later moments have no such form.
const LAST_MS: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Logged, moment, show};

    #[test]
    fn a_plug_in_cannot_feign_entries() {
        let entry = json!({
            "at-ms": 0, "version": "1.0.0", "event": "fault", "function": "f",
            "request-id": "r\n1970", "reason": "it\nfell\r\x1b[1A\u{202e}"
        });
        let logged = Logged { tenant: "t".to_owned(), plugin: "p".to_owned(), entry };
        assert_eq!(
            show(&logged),
            "1970-01-01T00:00:00.000Z  t  p 1.0.0  fault  in f  request r\u{fffd}1970\n    it\n    fell\u{fffd}\u{fffd}[1A\u{fffd}"
        );
    }

    #[test]
    fn moments_are_told_as_dates() {
        assert_eq!(moment(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(moment(951_827_696_789), "2000-02-29T12:34:56.789Z");
        assert_eq!(moment(1_798_761_599_999), "2026-12-31T23:59:59.999Z");
        assert_eq!(moment(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
