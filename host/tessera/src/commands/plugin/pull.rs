//! `tessera plugin pull`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Where from: oci://HOST/REPOSITORY:TAG, or with @sha256:… in place of the tag.
    #[arg(value_name = "oci://…")]
    from: String,
    /// The package to make; none: NAME-VERSION.tar.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Speak plain HTTP to the registry, also where it is not on this machine.
    #[arg(long)]
    insecure: bool,
}

/// Gets a package from a registry.
pub(crate) fn run(arguments: &Pull) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin pull` is not in this build");
}
