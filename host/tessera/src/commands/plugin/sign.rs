//! `tessera plugin sign`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The package, or the module's file.
    #[arg(required_unless_present = "generate")]
    file: Option<PathBuf>,
    /// The file of the secret key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Make a new key, and print what `[modules] trusted-keys` needs.
    #[arg(long)]
    generate: bool,
}

/// Signs a package.
pub(crate) fn run(arguments: &Sign) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin sign` is not in this build");
}
