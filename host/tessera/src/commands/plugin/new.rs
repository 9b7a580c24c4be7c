//! `tessera plugin new`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use tessera_manifest::PluginName;

#[derive(Debug, Args)]
pub(crate) struct New {
    /// The folder to make; its last part is the module's name unless --name says otherwise.
    folder: PathBuf,
    /// The language to write it in.
    #[arg(long, value_name = "rust|javascript|python", default_value = "rust")]
    lang: String,
    /// Its name.
    #[arg(long)]
    name: Option<PluginName>,
    /// A hook that it answers; may be repeated. None: event-policy.
    #[arg(long = "hook", value_name = "NAME")]
    hooks: Vec<String>,
    /// A folder of the Rust SDK to build on, in place of a copy of the contract alone.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

/// Makes the folder of a module that builds and runs.
pub(crate) fn run(arguments: &New) -> Result<()> {
    let _ = arguments;
    bail!("`tessera plugin new` is not in this build");
}
