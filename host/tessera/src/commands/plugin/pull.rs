//! `tessera plugin pull`

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use tessera_package::{
    build::write_if_changed,
    registry::{Reference, pull},
};

use super::{push::Registry, size};
use crate::authoring::CAP;

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Where from: oci://HOST/REPOSITORY:TAG, or with @sha256:… in place of the tag.
    #[arg(value_name = "oci://…")]
    from: Reference,
    /// The package to make; none: NAME-VERSION.tar.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    registry: Registry,
}

/// Gets a package from a registry.
pub(crate) fn run(arguments: &Pull) -> Result<()> {
    let from = &arguments.from;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let package = runtime
        .block_on(pull(from, &arguments.registry.access(), CAP))
        .with_context(|| format!("cannot pull {from}"))?;
    let out = arguments.out.clone().unwrap_or_else(|| package.file_name().into());
    let archive = package.archive()?;
    write_if_changed(&out, &archive).with_context(|| format!("cannot write {}", out.display()))?;
    println!("{}  {}  {}", out.display(), size(archive.len()), package.verify(&[]));
    Ok(())
}
