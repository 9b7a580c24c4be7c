//! `tessera nodes` and `tessera nodes drain`: asked of any node whose data folder this is.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use crate::{
    admin::{self, Question},
    cli::{Nodes, NodesCommand},
    cluster::document::{Listed, State},
    folder,
};

/// Runs the command.
pub(crate) fn run(arguments: &Nodes) -> Result<()> {
    let descriptor = arguments.settings.descriptor()?;
    let data = &descriptor.server.data;
    let Some(socket) = folder::live_socket(data) else {
        bail!(
            "no node runs on the data folder {}; run this where one does, or name its folder with --data DIR",
            data.display()
        );
    };
    if let Some(NodesCommand::Drain { name }) = &arguments.command {
        let () = admin::ask(&socket, &Question::Drain { node: name.clone() })?;
        println!("{name} hands over and ends within {}", descriptor.http.drain);
        return Ok(());
    }
    let nodes: Vec<Listed> = admin::ask(&socket, &Question::Nodes)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&nodes)?);
    } else {
        print!("{}", show(&nodes, tessera_storage::now_ms()));
    }
    Ok(())
}

fn show(nodes: &[Listed], now_ms: u64) -> String {
    let mut rows = vec![
        ["node", "state", "up", "address", "tenants", "plug-in", "calls/s", "p99 ms"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for node in nodes {
        let lost = node.state == State::Lost;
        let shown = |text: String| if lost { "-".to_owned() } else { text };
        let document = &node.document;
        let head = [
            node.name.clone(),
            state(node.state).to_owned(),
            shown(age(now_ms.saturating_sub(node.since_ms) / 1000)),
            if document.addresses.is_empty() {
                "-".to_owned()
            } else {
                document.addresses.join(" ")
            },
            shown(document.tenants_awake.to_string()),
        ];
        let mut first = Some(head.to_vec());
        for (name, plugin) in &document.plugins {
            let mut row = first.take().unwrap_or_else(|| vec![String::new(); 5]);
            let p99 = match plugin.load.p99_ms {
                Some(p99) => format!("{p99}"),
                None if plugin.load.calls_per_second > 0.0 => "> 10000".to_owned(),
                None => "-".to_owned(),
            };
            row.extend([
                format!("{name} {}", plugin.version),
                format!("{}", plugin.load.calls_per_second),
                p99,
            ]);
            rows.push(row);
        }
        if let Some(mut row) = first {
            row.extend([const { "-" }; 3].map(str::to_owned));
            rows.push(row);
        }
    }
    let mut text = table(&rows);
    for node in nodes.iter().filter(|node| node.state == State::NotReady) {
        for reason in &node.document.reasons {
            let _ = writeln!(text, "{}: {reason}", node.name);
        }
    }
    text
}

fn state(state: State) -> &'static str {
    match state {
        State::Ready => "ready",
        State::NotReady => "not ready",
        State::Draining => "draining",
        State::Lost => "lost",
    }
}

/// A time for a person.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Columns of equal width.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            let widest = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
            widest.max().unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{age, show};
    use crate::cluster::document::{Document, Listed, Running, State};

    fn node(name: &str, state: State, plugins: &[&str]) -> Listed {
        let plugins: BTreeMap<_, _> = plugins
            .iter()
            .map(|name| {
                let mut running = Running { version: "0.1.0".into(), ..Running::default() };
                running.load.calls_per_second = 12.5;
                running.load.p99_ms = Some(5.0);
                ((*name).to_owned(), running)
            })
            .collect();
        let mut document = Document { plugins, tenants_awake: 2, ..Document::default() };
        if state == State::Ready {
            document.addresses.push("http://127.0.0.1:8008".into());
        }
        if state == State::NotReady {
            document.reasons.push("the database does not answer".into());
        }
        let (id, since_ms) = (String::new(), 1000);
        Listed { name: name.into(), id, since_ms, silent_ms: 0, state, document }
    }

    #[test]
    fn nodes_stand_in_columns() {
        let nodes = [
            node("one", State::Ready, &["accounts", "sync"]),
            node("second", State::NotReady, &["rooms"]),
            node("three", State::Lost, &[]),
        ];
        let expected = "\
node    state      up  address                tenants  plug-in         calls/s  p99 ms
one     ready      9s  http://127.0.0.1:8008  2        accounts 0.1.0  12.5     5
                                                       sync 0.1.0      12.5     5
second  not ready  9s  -                      2        rooms 0.1.0     12.5     5
three   lost       -   -                      -        -               -        -
second: the database does not answer
";
        assert_eq!(show(&nodes, 10_000), expected);
    }

    #[test]
    fn an_age_is_told_in_two_units_at_most() {
        for (seconds, said) in
            [(0, "0s"), (59, "59s"), (3599, "59m"), (3660, "1h01m"), (90_000, "1d01h")]
        {
            assert_eq!(age(seconds), said);
        }
    }
}
