//! `tessera plugin pack`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// The module's file.
    file: PathBuf,
    /// The package to make; none: NAME-VERSION.tar.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where its source is.
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    /// Which revision of the source it was built of.
    #[arg(long)]
    revision: Option<String>,
}

/// Makes a package of a module.
pub(crate) fn run(arguments: &Pack) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin pack` is not in this build");
}
