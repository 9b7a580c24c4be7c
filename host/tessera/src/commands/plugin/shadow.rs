//! `tessera plugin shadow`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use tessera_manifest::PluginName;

use crate::cli::Settings;

#[derive(Debug, Args)]
pub(crate) struct Shadow {
    /// The plug-in.
    name: PluginName,
    /// The version to try: a plug-in's file or a package.
    #[arg(required_unless_present = "end")]
    file: Option<PathBuf>,
    /// The functions that it is asked, too, such as tessera:services/presence.typing; may be repeated.
    #[arg(long, value_name = "INTERFACE.FUNCTION", value_delimiter = ',')]
    functions: Vec<String>,
    /// End it, and show what it found.
    #[arg(long)]
    end: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Asks another version the same, and compares the answers; only the plug-in's own count.
pub(crate) fn run(arguments: &Shadow) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin shadow` is not in this build");
}
