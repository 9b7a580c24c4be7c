//! `tessera plugin release`

use anyhow::Result;
use clap::Args;
use tessera_manifest::PluginName;

use super::ask;
use crate::{admin::ModuleQuestion, cli::Settings};

#[derive(Debug, Args)]
pub(crate) struct Release {
    /// The plug-in.
    name: PluginName,
    /// Where the server's data folder is.
    #[command(flatten)]
    settings: Settings,
}

/// Lets a plug-in out of quarantine.
pub(crate) fn run(arguments: &Release) -> Result<()> {
    let Release { name, settings } = arguments;
    let tenant = settings.server_name.as_ref().map(ToString::to_string);
    let question = ModuleQuestion::Release { tenant, name: name.to_string() };
    let (): () = ask(settings, question)?;
    println!("{name} takes calls again");
    Ok(())
}
