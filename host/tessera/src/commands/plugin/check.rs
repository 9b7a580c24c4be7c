//! `tessera plugin check`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::cli::Settings;

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The module's folder or file.
    #[arg(default_value = ".")]
    module: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Checks a module against the contract and against what a server offers.
pub(crate) fn run(arguments: &Check) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin check` is not in this build");
}
