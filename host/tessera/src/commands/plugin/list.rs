//! `tessera plugin list`

use anyhow::Result;
use clap::Args;

use super::size;
use crate::{cli::Settings, files, manifests};

#[derive(Debug, Args)]
pub(crate) struct List {
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Lists the descriptor's plug-ins; nothing is compiled.
pub(crate) fn run(arguments: &List) -> Result<()> {
    let descriptor = arguments.settings.descriptor()?;
    for file in files::read_all(&descriptor)? {
        let manifest = manifests::of(&file)?.manifest;
        println!(
            "{} {}  {}  {}",
            file.name,
            manifest.version,
            size(file.bytes.len()),
            file.path.display()
        );
    }
    for (name, _) in descriptor.plugins.iter().filter(|(_, plugin)| !plugin.enabled) {
        println!("{name}  switched off");
    }
    Ok(())
}
