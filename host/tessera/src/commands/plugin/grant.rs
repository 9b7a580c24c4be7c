//! `tessera plugin grant`

use anyhow::{Result, bail};
use clap::Args;
use tessera_manifest::PluginName;

use crate::cli::Settings;

#[derive(Debug, Args)]
pub(crate) struct Grant {
    /// The plug-in.
    name: PluginName,
    /// What to allow: `asked`, or KEY=VALUE such as call=tessera:services/rooms.send-as, fetch=https://example.org, sign.
    /// None: shows what is asked and what is allowed.
    #[arg(value_name = "GRANT")]
    grants: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

/// Allows a plug-in something that it asks for.
pub(crate) fn run(arguments: &Grant) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin grant` is not in this build");
}
