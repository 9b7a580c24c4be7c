//! `tessera plugin check`

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use tessera_engine::{Engine, EngineConfig, Plugin};
use tessera_manifest::{Descriptor, PluginManifest};
use tessera_package::{Package, contract};
use tessera_storage::{
    Database, DatabaseConfig, ExposedView, FullTextIndex, PluginSchema, Wake, compatible,
};

use super::size;
use crate::{
    authoring::{self, CAP},
    cli::Settings,
    compiler,
    manifests::Described,
};

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The module's folder, which is built first, or its file or package.
    #[arg(default_value = ".")]
    module: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    name: String,
    version: String,
    size: usize,
    /// What it asks for, in words.
    asks: Vec<String>,
    /// Hooks and services that it answers, with versions.
    answers: Vec<String>,
    migrations: Vec<String>,
    /// What a server would stumble over.
    problems: Vec<String>,
    /// What its author or an operator should know.
    warnings: Vec<String>,
}

/// Checks a module against the contract and against what a server offers.
pub(crate) fn run(arguments: &Check) -> Result<()> {
    let package = if arguments.module.is_dir() {
        authoring::build(&arguments.module, None)?.package
    } else {
        Package::read_file(&arguments.module, CAP)?
    };
    let descriptor = arguments.settings.descriptor()?;
    let report = report(&package, &descriptor)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", shown(&report));
    }
    match report.problems.len() {
        0 => Ok(()),
        1 => bail!("{} has a problem", report.name),
        many => bail!("{} has {many} problems", report.name),
    }
}

fn report(package: &Package, descriptor: &Descriptor) -> Result<Report> {
    let described = Described::read("the module", package.component())?;
    let mut report = Report {
        name: package.name().to_owned(),
        version: package.version().to_owned(),
        size: package.component().len(),
        asks: described.asked.words(),
        ..Report::default()
    };
    let cap = descriptor.engine.component_max;
    if report.size as u64 > cap.get() {
        report.problems.push(format!(
            "{} bytes, over the {cap} that a server takes ([engine] component-max)",
            report.size
        ));
    }
    check_config(&described.manifest, &mut report);
    // Compiled code is kept nowhere: looking at a file leaves no trace.
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let compiler = compiler::of(&descriptor.engine);
    let config =
        EngineConfig { compiler, component_max: CAP, ..EngineConfig::below(scratch.path()) };
    let engine = Engine::new(config, &prometheus::Registry::new())?;
    match Plugin::load(&engine, package.name(), package.component()) {
        Ok(plugin) => {
            check_contract(&plugin, &mut report);
            check_migrations(&plugin, &mut report)?;
        }
        Err(error) => report.problems.push(error.to_string()),
    }
    Ok(report)
}

/// The default configuration against the module's own schema.
fn check_config(manifest: &PluginManifest, report: &mut Report) {
    let schema = &manifest.config.schema;
    let closed = schema.get("additionalProperties") == Some(&false.into());
    let required = schema.get("required").and_then(|value| value.as_array());
    let unset: Vec<&str> = required
        .into_iter()
        .flatten()
        .filter_map(|key| key.as_str())
        .filter(|key| !manifest.config.default.contains_key(*key))
        .collect();
    if !unset.is_empty() {
        report.warnings.push(format!(
            "without a default: an operator must set {} in its configuration",
            unset.join(", ")
        ));
    } else if let Err(problem) = manifest.config.check(&manifest.config.default) {
        report.problems.push(format!("[config] default: {problem}"));
    }
    if schema.is_empty() {
        report.warnings.push(
            "no [config.schema]: an operator's mistake in its configuration is not found before it runs"
                .to_owned(),
        );
    } else if !closed {
        report.warnings.push(
            "[config.schema] has no `additionalProperties = false`: a misspelt key is not found"
                .to_owned(),
        );
    }
}

/// Imports and exports against the contract that this program knows.
fn check_contract(plugin: &Plugin, report: &mut Report) {
    let inspection = plugin.inspect();
    let declared = |name: &str| {
        inspection.hooks.iter().any(|hook| {
            let interface = hook.split_once('.').map_or(hook.as_str(), |(interface, _)| interface);
            interface == base(name)
        })
    };
    for import in inspection.imports.iter().filter(|import| between_plugins(&import.name)) {
        let Some(page) = contract::page(base(&import.name)) else {
            report.warnings.push(format!(
                "`{}` is of no service of this server: another module must offer it",
                import.name
            ));
            continue;
        };
        let known = page.functions();
        for function in import.functions.iter().filter(|name| !known.contains(*name)) {
            report.problems.push(format!(
                "nobody offers `{}.{function}`: `{}@{}` has no such function",
                import.name, page.name, page.version
            ));
        }
    }
    for export in inspection.exports.iter().filter(|export| between_plugins(&export.name)) {
        if export.functions.is_empty() {
            continue;
        }
        report.answers.push(export.name.clone());
        let hook = base(&export.name).starts_with("tessera:hooks/");
        if hook && !declared(&export.name) {
            report.problems.push(format!(
                "it exports `{}`, but [hooks] provides does not name it: it would never be asked",
                export.name
            ));
        }
        if let Some(page) = contract::page(base(&export.name)) {
            let known = page.functions();
            for function in known.iter().filter(|name| !export.functions.contains(*name)) {
                report.problems.push(format!("`{}` lacks the function `{function}`", export.name));
            }
        } else if hook {
            report
                .warnings
                .push(format!("`{}` is a hook that this server does not ask", export.name));
        }
    }
}

/// Runs the migrations on an empty database, and looks whether each leaves room for the version before it.
fn check_migrations(plugin: &Plugin, report: &mut Report) -> Result<()> {
    for (number, migration) in plugin.migrations.iter().enumerate() {
        report.migrations.push(migration.name.clone());
        // The first has none before it.
        if let Err(why) = compatible(&migration.sql)
            && number > 0
        {
            report.warnings.push(format!(
                "{}: the version before cannot run beside it, so a swap stops the module: {why}",
                migration.name
            ));
        }
    }
    let storage = &plugin.manifest.storage;
    let schema = PluginSchema {
        plugin: plugin.manifest.name.table_prefix(),
        version: plugin.version().to_string(),
        migrations: plugin.migrations.clone(),
        exposes: storage.exposes.iter().map(|v| ExposedView { name: v.to_string() }).collect(),
        full_text: storage
            .full_text
            .iter()
            .map(|i| FullTextIndex { name: i.to_string() })
            .collect(),
    };
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let installed = runtime.block_on(async {
        let path = folder.path().join("check.sqlite");
        let database = Database::open(&path, DatabaseConfig::default(), Arc::new(Nobody)).await?;
        let installed = database.install(schema).await;
        database.close().await;
        anyhow::Ok(installed)
    })?;
    if let Err(error) = installed {
        report.problems.push(error.to_string());
    }
    Ok(())
}

/// Nobody waits for what a check commits.
struct Nobody;

impl Wake for Nobody {
    fn committed(&self, _: &[String], _: u64) {}
}

/// The interface's name without its version.
fn base(name: &str) -> &str {
    name.split('@').next().unwrap_or_default()
}

fn between_plugins(name: &str) -> bool {
    name.starts_with("tessera:hooks/")
        || name.starts_with("tessera:services/")
        || !["tessera:", "wasi:"].iter().any(|known| name.starts_with(known))
}

fn shown(report: &Report) -> String {
    let mut text = format!("{} {}, {}\n", report.name, report.version, size(report.size));
    let mut list = |title: &str, lines: &[String]| {
        if !lines.is_empty() {
            text += &format!("\n{title}:\n");
            for line in lines {
                text += &format!("  {}\n", line.replace('\n', "\n  "));
            }
        }
    };
    list("answers", &report.answers);
    list("asks for", &report.asks);
    list("migrations", &report.migrations);
    list("good to know", &report.warnings);
    list("problems", &report.problems);
    if report.problems.is_empty() {
        text += "\nA server takes it.\n";
    }
    text
}
