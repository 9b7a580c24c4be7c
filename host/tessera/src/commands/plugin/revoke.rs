//! `tessera plugin revoke`

use anyhow::{Result, bail};
use clap::Args;
use tessera_manifest::PluginName;

use crate::cli::Settings;

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The plug-in.
    name: PluginName,
    /// What to take away, in the same words as for `grant`; `all` for everything.
    #[arg(value_name = "GRANT", required = true)]
    grants: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

/// Takes away what a plug-in is allowed.
pub(crate) fn run(arguments: &Revoke) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin revoke` is not in this build");
}
