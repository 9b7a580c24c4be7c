//! `tessera plugin rollback`

use anyhow::{Result, bail};
use clap::Args;
use tessera_manifest::PluginName;

use crate::cli::Settings;

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The plug-in.
    name: PluginName,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Goes back to the version before the last swap.
pub(crate) fn run(arguments: &Rollback) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin rollback` is not in this build");
}
