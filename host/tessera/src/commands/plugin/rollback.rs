//! `tessera plugin rollback`

use anyhow::Result;
use clap::Args;
use tessera_manifest::PluginName;

use super::confirm;
use crate::{
    cli::Settings,
    modules::{change::Change, version::VersionChange},
};

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The plug-in.
    name: PluginName,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Goes back to the version before the last swap.
pub(crate) fn run(arguments: &Rollback) -> Result<()> {
    let name = &arguments.name;
    if !arguments.yes {
        confirm(&format!("Put the version of `{name}` back that was there before the last swap?"))?;
    }
    let change = Change::Version(VersionChange::Rollback { name: name.clone() });
    let notes = change.carry_out(&arguments.settings)?;
    println!("rolled back {name}");
    for note in notes {
        println!("note: {note}");
    }
    Ok(())
}
