//! `tessera plugin inspect`

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use tessera_engine::{Engine, EngineConfig, Inspection, Plugin};

use crate::compiler;

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The plug-in's file.
    file: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Shows what a plug-in's file holds.
pub(crate) fn run(arguments: &Inspect) -> Result<()> {
    let Inspect { file, json } = arguments;
    let shown = file.display().to_string();
    let bytes = fs::read(file).with_context(|| format!("cannot read {shown}"))?;
    // Compiled code is kept nowhere: looking at a file leaves no trace.
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let compiler = compiler::of(&tessera_manifest::Engine::default());
    let config = EngineConfig { compiler, ..EngineConfig::below(scratch.path()) };
    let engine = Engine::new(config, &prometheus::Registry::new())?;
    let plugin = Plugin::load(&engine, &shown, &bytes)
        .with_context(|| format!("{shown} is no plug-in that this server could run"))?;
    let inspection = plugin.inspect();
    if *json {
        println!("{}", serde_json::to_string_pretty(&inspection)?);
    } else {
        let sql = plugin.migrations.iter().map(|migration| migration.sql.as_str());
        print!("{}", show(&inspection, tables(sql)));
    }
    Ok(())
}

/// Names that `CREATE TABLE` makes in the migrations.
fn tables<'a>(migrations: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut tables = Vec::new();
    for sql in migrations {
        let words: Vec<String> = sql
            .lines()
            .map(|line| line.split("--").next().unwrap_or_default())
            .flat_map(|line| line.split(|c: char| !(c.is_alphanumeric() || c == '_')))
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        for at in words
            .windows(2)
            .enumerate()
            .filter_map(|(at, pair)| (pair == ["create", "table"]).then_some(at))
        {
            let mut after = words
                .iter()
                .skip(at + 2)
                .skip_while(|word| ["if", "not", "exists"].contains(&word.as_str()));
            tables.extend(after.next().cloned());
        }
    }
    tables
}

fn show(plugin: &Inspection, tables: Vec<String>) -> String {
    let mut text = format!("{} {}, {} bytes\n", plugin.name, plugin.version, plugin.size);
    if !plugin.description.is_empty() {
        let _ = writeln!(text, "{}", plugin.description);
    }
    let interfaces = |list: &[tessera_engine::InspectedInterface]| -> Vec<String> {
        list.iter()
            .map(|interface| match interface.functions.as_slice() {
                [] => interface.name.clone(),
                functions => format!("{} ({})", interface.name, functions.join(", ")),
            })
            .collect()
    };
    let sections = [
        ("imports", interfaces(&plugin.imports)),
        ("exports", interfaces(&plugin.exports)),
        ("routes", plugin.routes.clone()),
        ("authenticators", plugin.authenticators.clone()),
        ("tables", tables),
        ("views that it exposes", plugin.exposes.clone()),
        ("views of others that it reads", plugin.reads.clone()),
        ("migrations", plugin.migrations.clone()),
        ("topics: emits", plugin.emits.clone()),
        ("topics: consumes", plugin.consumes.clone()),
        ("hooks that it answers", plugin.hooks.clone()),
        ("grants: calls", plugin.calls.clone()),
        ("grants: fetches from", plugin.fetches.clone()),
    ];
    for (title, lines) in sections {
        if lines.is_empty() {
            let _ = writeln!(text, "\n{title}: none");
            continue;
        }
        let _ = writeln!(text, "\n{title}:");
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::tables;

    #[test]
    fn tables_are_found_in_migrations() {
        let sql = "-- create table no\nCREATE TABLE a_b (x bigint);create table\n if not exists a_c(y text);\nCREATE INDEX i ON a_b (x);";
        assert_eq!(tables([sql].into_iter()), ["a_b", "a_c"]);
    }
}
