//! `tessera plugin list`

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use tessera_manifest::{Descriptor, PluginName};

use super::size;
use crate::{cli::Settings, files, manifests, modules::Overlay, settings::DEFAULT};

#[derive(Debug, Args)]
pub(crate) struct List {
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// One plug-in.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Listed {
    name: String,
    enabled: bool,
    version: Option<String>,
    size: Option<usize>,
    file: Option<String>,
    /// Where it stands: in the embedded default, in the operator's descriptor, or installed by command.
    from: &'static str,
    /// Keys that commands have changed.
    changed: Vec<String>,
    /// What it is allowed, in words.
    allowed: Vec<String>,
    /// What it asks for and is not allowed, in words.
    missing: Vec<String>,
}

/// Lists the descriptor's plug-ins; nothing is compiled.
pub(crate) fn run(arguments: &List) -> Result<()> {
    let settings = &arguments.settings;
    let descriptor = settings.descriptor()?;
    let (alone, overlay) = (settings.descriptor_alone()?, settings.overlay()?);
    let default = Descriptor::parse("embedded default", DEFAULT)?;
    let from = |name: &PluginName| {
        if default.plugins.contains_key(name) {
            "default"
        } else if alone.plugins.contains_key(name) {
            "descriptor"
        } else {
            "installed"
        }
    };
    let mut listed = Vec::new();
    for file in files::read_all(&descriptor)? {
        let described = manifests::of(&file)?;
        let allowed = described.allowed(&descriptor);
        listed.push(Listed {
            name: file.name.to_string(),
            enabled: true,
            version: Some(described.manifest.version.to_string()),
            size: Some(file.bytes.len()),
            file: Some(file.path.display().to_string()),
            from: from(&file.name),
            changed: changed(&overlay, &file.name),
            missing: described.asked.without(&allowed).words(),
            allowed: allowed.words(),
        });
    }
    for (name, _) in descriptor.plugins.iter().filter(|(_, plugin)| !plugin.enabled) {
        listed.push(Listed {
            name: name.to_string(),
            enabled: false,
            version: None,
            size: None,
            file: None,
            from: from(name),
            changed: changed(&overlay, name),
            allowed: Vec::new(),
            missing: Vec::new(),
        });
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&listed)?);
        return Ok(());
    }
    listed.iter().for_each(show);
    Ok(())
}

fn changed(overlay: &Overlay, name: &PluginName) -> Vec<String> {
    overlay.get(name.as_str()).into_iter().flatten().map(|(key, _)| key.clone()).collect()
}

fn show(plugin: &Listed) {
    let (name, from) = (&plugin.name, plugin.from);
    match (&plugin.version, &plugin.file) {
        (Some(version), Some(file)) => {
            println!(
                "{name} {version}  {}  {file}  ({from})",
                size(plugin.size.unwrap_or_default())
            );
        }
        _ => println!("{name}  switched off  ({from})"),
    }
    if from != "installed" && !plugin.changed.is_empty() {
        println!("  changed by command: {}", plugin.changed.join(", "));
    }
    if from != "default" {
        plugin.allowed.iter().for_each(|word| println!("  {word}"));
    }
    if !plugin.missing.is_empty() {
        println!("  not allowed: {}", plugin.missing.join("; "));
    }
}
