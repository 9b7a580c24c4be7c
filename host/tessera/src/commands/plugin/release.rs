//! `tessera plugin release`

use anyhow::{Result, bail};
use clap::Args;
use tessera_manifest::PluginName;

use crate::cli::Settings;

#[derive(Debug, Args)]
pub(crate) struct Release {
    /// The plug-in.
    name: PluginName,
    /// Where the server's data folder is.
    #[command(flatten)]
    settings: Settings,
}

/// Lets a plug-in out of quarantine.
pub(crate) fn run(arguments: &Release) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin release` is not in this build");
}
