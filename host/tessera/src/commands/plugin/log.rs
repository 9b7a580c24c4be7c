//! `tessera plugin log`

use anyhow::{Result, bail};
use clap::Args;
use tessera_manifest::PluginName;

use crate::cli::Settings;

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Only of this plug-in.
    name: Option<PluginName>,
    /// Entries at most.
    #[arg(long, default_value_t = 100)]
    last: usize,
    /// Go on as entries appear.
    #[arg(long)]
    follow: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Where the server's data folder is.
    #[command(flatten)]
    settings: Settings,
}

/// Shows what plug-ins refused, and what went wrong in them.
pub(crate) fn run(arguments: &Log) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin log` is not in this build");
}
