//! `tessera plugin dev`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::cli::Settings;

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// The module's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

/// Watches a module, builds it at each change and swaps it into a running server.
pub(crate) fn run(arguments: &Dev) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin dev` is not in this build");
}
