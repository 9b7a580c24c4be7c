//! `tessera plugin swap`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use tessera_manifest::{PluginName, TenantName};

use crate::cli::Settings;

#[derive(Debug, Args)]
pub(crate) struct Swap {
    /// The plug-in.
    name: PluginName,
    /// The new version: a plug-in's file or a package.
    file: PathBuf,
    /// The part of calls that it gets at first, such as 5%.
    #[arg(long, value_name = "PERCENT")]
    canary: Option<String>,
    /// Only this tenant gets it at first; may be repeated.
    #[arg(long = "tenant", value_name = "NAME")]
    tenants: Vec<TenantName>,
    /// End a canary: all calls go to the new version.
    #[arg(long, conflicts_with_all = ["canary", "tenants"])]
    finish: bool,
    /// Swap although migrations stop the old version from running.
    #[arg(long)]
    yes_stop: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Puts another version in the place of a plug-in, while it runs.
pub(crate) fn run(arguments: &Swap) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin swap` is not in this build");
}
