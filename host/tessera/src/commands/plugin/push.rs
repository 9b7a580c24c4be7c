//! `tessera plugin push`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The package.
    file: PathBuf,
    /// Where to: oci://HOST/REPOSITORY:TAG.
    #[arg(value_name = "oci://…")]
    to: String,
    /// Speak plain HTTP to the registry, also where it is not on this machine.
    #[arg(long)]
    insecure: bool,
}

/// Brings a package to a registry.
pub(crate) fn run(arguments: &Push) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin push` is not in this build");
}
