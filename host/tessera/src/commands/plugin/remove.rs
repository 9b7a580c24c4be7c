//! `tessera plugin remove`

use anyhow::{Result, bail};
use clap::Args;
use tessera_manifest::PluginName;

use crate::{cli::Settings, modules::change::Change};

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The plug-in.
    name: PluginName,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Removes a module that was installed.
pub(crate) fn run(arguments: &Remove) -> Result<()> {
    let name = &arguments.name;
    if !arguments.yes {
        eprint!("Remove the plug-in `{name}`? Its tables stay. [y]es: ");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !["y", "yes"].contains(&answer.trim()) {
            bail!("`{name}` is not removed (--yes removes without asking)");
        }
    }
    let notes = Change::Remove { name: name.clone() }.carry_out(&arguments.settings)?;
    println!("removed {name}");
    for note in notes {
        println!("note: {note}");
    }
    Ok(())
}
