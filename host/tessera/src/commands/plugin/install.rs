//! `tessera plugin install`

use anyhow::{Result, bail};
use clap::Args;
use tessera_manifest::Sha256;

use crate::cli::Settings;

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// A plug-in's file, a package (.tar), or oci://HOST/REPOSITORY:TAG.
    #[arg(value_name = "FILE|TAR|oci://…")]
    source: String,
    /// What to allow of what it asks: `asked`, `nothing`, or KEY=VALUE such as call=tessera:services/rooms; may be
    /// repeated. Otherwise it is asked, or with --yes: all.
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<String>,
    /// A key of its configuration; may be repeated. What is no JSON is a text.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Digest that its file must have.
    #[arg(long)]
    sha256: Option<Sha256>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Speak plain HTTP to the registry, also where it is not on this machine.
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Installs a module for good.
pub(crate) fn run(arguments: &Install) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin install` is not in this build");
}
