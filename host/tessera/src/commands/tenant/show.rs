//! What is said to a person.

use std::fmt::Write as _;

use crate::{
    commands::plugin::size,
    tenants::{
        Origin,
        report::{Done, Listed, Shown},
    },
};

/// `tessera tenant list`
pub(super) fn list(listed: &[Listed]) -> String {
    let width = listed.iter().map(|line| line.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for line in listed {
        let _ = writeln!(text, "{:width$}  {:9}  {}", line.name, line.state.as_str(), hosts(line));
    }
    if listed.is_empty() {
        text.push_str("there is no tenant; `tessera tenant add NAME` makes one\n");
    }
    text
}

fn hosts(listed: &Listed) -> String {
    let hosts: Vec<String> = listed.hosts.iter().map(ToString::to_string).collect();
    if hosts.is_empty() { "the host of its name".to_owned() } else { hosts.join(", ") }
}

/// `tessera tenant show`
pub(super) fn one(shown: &Shown) -> String {
    let listed = &shown.listed;
    let mut text = format!("{}\n", listed.name);
    let mut line = |title: &str, value: &str| {
        let _ = writeln!(text, "  {title:<20} {value}");
    };
    line("state", listed.state.as_str());
    line(
        "stands in",
        match listed.origin {
            Origin::Lone | Origin::File => "the descriptor",
            Origin::Made => "the host database (`tessera tenant add` or `import`)",
        },
    );
    line("hosts", &hosts(listed));
    match &listed.plugins {
        None => line("plug-ins", "all that are enabled"),
        Some(plugins) => line("plug-ins", &plugins.join(", ")),
    }
    for plugin in &shown.status {
        let field = |pointer: &str| match plugin.pointer(pointer) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let (name, version) = (field("/name"), field("/version"));
        let (state, instances) = (field("/health/state"), field("/instances"));
        line("", &format!("{name} {version}: {state}, {instances} instances"));
    }
    let quotas = &shown.quotas;
    let used = shown.used.as_ref();
    let per_second = |number: f64| format!("{number:.2}");
    let bytes = |bytes: u64| size(usize::try_from(bytes).unwrap_or(usize::MAX));
    let mut quota = |title: &str, used: Option<String>, cap: Option<String>| {
        if used.is_none() && cap.is_none() {
            return;
        }
        let used = used.unwrap_or_else(|| "-".to_owned());
        line(title, &cap.map_or(used.clone(), |cap| format!("{used} of {cap}")));
    };
    quota(
        "requests",
        used.map(|used| {
            format!(
                "{} since it awoke, {} over the quota, {} parked",
                used.requests, used.limited, used.parked
            )
        }),
        quotas.requests_per_second.map(|rate| format!("{rate}/s")),
    );
    quota(
        "CPU seconds/s",
        used.map(|used| per_second(used.cpu)),
        quotas.cpu.map(|cpu| cpu.to_string()),
    );
    quota(
        "memory",
        used.map(|used| bytes(used.memory)),
        quotas.memory.map(|size| bytes(size.get())),
    );
    quota("rows", used.map(|used| used.rows.to_string()), quotas.rows.map(|rows| rows.to_string()));
    quota(
        "database",
        used.map(|used| bytes(used.bytes)),
        quotas.bytes.map(|size| bytes(size.get())),
    );
    quota("blobs", shown.blob_bytes.map(bytes), quotas.blob_bytes.map(|size| bytes(size.get())));
    quota(
        "outbound requests",
        used.map(|used| format!("{} since it awoke", used.fetches)),
        quotas.fetches_per_minute.map(|rate| format!("{rate} a minute")),
    );
    quota(
        "mails",
        used.map(|used| format!("{} since it awoke", used.mails)),
        quotas.mails_per_minute.map(|rate| format!("{rate} a minute")),
    );
    for (name, cap) in &quotas.counts {
        line(name.as_str(), &format!("at most {cap}"));
    }
    if let Some(used) = used.filter(|used| used.refused > 0) {
        line("refused by quotas", &format!("{} calls since it awoke", used.refused));
    }
    text
}

/// What a change came to.
pub(super) fn done(done: &Done, what: &str) -> String {
    let already = if done.unchanged { " already" } else { "" };
    let mut text = format!("{} {what}{already}", done.name);
    if let Some(file) = &done.file {
        let _ = write!(text, " ({})", file.display());
    }
    text.push('\n');
    if let Some(end) = &done.end {
        let database = size(usize::try_from(end.database).unwrap_or(usize::MAX));
        let blobs = size(usize::try_from(end.blob_bytes).unwrap_or(usize::MAX));
        let _ = writeln!(text, "  database {database}, {} blobs {blobs}", end.blobs);
    }
    for note in &done.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}
