//! `tessera plugin revoke`

use anyhow::Result;
use clap::Args;
use tessera_manifest::PluginName;

use super::grant::show;
use crate::{cli::Settings, modules::change::Change};

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The plug-in.
    name: PluginName,
    /// What to take away, in the same words as for `grant`; `all` for everything.
    #[arg(value_name = "GRANT", required = true)]
    grants: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

/// Takes away what a plug-in is allowed.
pub(crate) fn run(arguments: &Revoke) -> Result<()> {
    let Revoke { name, grants, settings } = arguments;
    let change = Change::Revoke { name: name.clone(), words: grants.clone() };
    let notes = change.carry_out(settings)?;
    show(name, settings)?;
    for note in notes {
        println!("note: {note}");
    }
    Ok(())
}
