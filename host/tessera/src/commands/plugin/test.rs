//! `tessera plugin test`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::cli::Settings;

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The module's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

/// Runs a module's own tests, and the module in a throw-away server.
pub(crate) fn run(arguments: &Test) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin test` is not in this build");
}
