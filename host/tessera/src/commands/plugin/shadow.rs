//! `tessera plugin shadow`

use anyhow::Result;
use clap::Args;
use serde_json::Value;
use tessera_manifest::PluginName;

use super::{ask_server, swap::newer};
use crate::{
    admin::Question,
    cli::Settings,
    modules::{change::Change, source, version::VersionChange},
    plain::clean,
};

#[derive(Debug, Args)]
pub(crate) struct Shadow {
    /// The plug-in.
    name: PluginName,
    /// The version to try: a plug-in's file, a package, or oci://HOST/REPOSITORY:TAG.
    #[arg(required_unless_present = "end")]
    file: Option<String>,
    /// The functions that it is asked, too, such as tessera:services/presence.typing; may be repeated.
    #[arg(long, value_name = "INTERFACE.FUNCTION", value_delimiter = ',')]
    functions: Vec<String>,
    /// End it, and show what it found.
    #[arg(long)]
    end: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Asks another version the same, and compares the answers; only the plug-in's own count.
pub(crate) fn run(arguments: &Shadow) -> Result<()> {
    let (name, settings) = (&arguments.name, &arguments.settings);
    let Some(file) = &arguments.file else {
        // Before it is gone, with what it has seen.
        if let Err(error) = show(name, settings) {
            println!("note: what it found is not known: {error:#}");
        }
        let change = Change::Version(VersionChange::EndShadow { name: name.clone() });
        change.carry_out(settings)?;
        println!("no other version of {name} is asked any more");
        return Ok(());
    };
    let descriptor = settings.descriptor()?;
    let found = newer(name, file, &descriptor, arguments.yes)?;
    let staged = source::stage(&descriptor.server.data, &found)?;
    let functions = arguments.functions.clone();
    let (file, sha256) = (staged.file, staged.sha256);
    let change = VersionChange::Shadow { name: name.clone(), file, sha256, functions };
    let notes = Change::Version(change).carry_out(settings)?;
    println!(
        "{name} {} is asked, too; `tessera plugin shadow {name} --end` shows what it found",
        found.described.manifest.version
    );
    notes.iter().for_each(|note| println!("note: {note}"));
    Ok(())
}

/// How the answers compare so far.
fn show(name: &PluginName, settings: &Settings) -> Result<()> {
    let tenant = settings.server_name.as_ref().map(ToString::to_string);
    let status: Vec<Value> = ask_server(settings, &Question::Status { tenant })?;
    let named = |plugin: &&Value| plugin.get("name").and_then(Value::as_str) == Some(name.as_str());
    let compared = status.iter().find(named).and_then(|one| one.pointer("/trial/compared"));
    let Some(functions) = compared.and_then(Value::as_object).filter(|all| !all.is_empty()) else {
        println!("it was asked nothing");
        return Ok(());
    };
    for (function, seen) in functions {
        let count = |key: &str| seen.get(key).and_then(Value::as_u64).unwrap_or(0);
        println!(
            "{function}: {} the same, {} different, {} not answered, {} not compared since it tried to change something, {} left out",
            count("same"),
            count("different"),
            count("failed"),
            count("wrote"),
            count("left-out"),
        );
        let side = |index: usize| seen.pointer(&format!("/example/{index}"))?.as_str();
        if let (Some(was), Some(is)) = (side(0), side(1)) {
            println!("  the last difference: {}\n  the other version:   {}", clean(was), clean(is));
        }
    }
    Ok(())
}
