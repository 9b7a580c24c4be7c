//! `tessera plugin remove`

use anyhow::{Result, bail};
use clap::Args;
use tessera_manifest::PluginName;

use crate::cli::Settings;

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The plug-in.
    name: PluginName,
    /// Forget its tables, too: the data is gone.
    #[arg(long)]
    data_too: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Removes a module that was installed.
pub(crate) fn run(arguments: &Remove) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin remove` is not in this build");
}
