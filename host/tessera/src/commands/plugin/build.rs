//! `tessera plugin build`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The module's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The file to make; none: NAME.wasm in the folder's `target`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Builds a module into one file.
pub(crate) fn run(arguments: &Build) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin build` is not in this build");
}
