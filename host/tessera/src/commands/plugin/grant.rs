//! `tessera plugin grant`

use anyhow::Result;
use clap::Args;
use tessera_manifest::PluginName;

use crate::{
    cli::Settings,
    modules::change::{Change, described},
};

#[derive(Debug, Args)]
pub(crate) struct Grant {
    /// The plug-in.
    name: PluginName,
    /// What to allow: `asked`, or KEY=VALUE such as call=tessera:services/rooms.send-as, fetch=https://example.org, sign.
    /// None: shows what is asked and what is allowed.
    #[arg(value_name = "GRANT")]
    grants: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

/// Allows a plug-in something that it asks for.
pub(crate) fn run(arguments: &Grant) -> Result<()> {
    let Grant { name, grants, settings } = arguments;
    let mut notes = Vec::new();
    if !grants.is_empty() {
        let change = Change::Grant { name: name.clone(), words: grants.clone() };
        notes = change.carry_out(settings)?;
    }
    show(name, settings)?;
    for note in notes {
        println!("note: {note}");
    }
    Ok(())
}

/// Shows what a plug-in asks for, and what of it is allowed.
pub(super) fn show(name: &PluginName, settings: &Settings) -> Result<()> {
    let descriptor = settings.descriptor()?;
    let described = described(&descriptor, name)?;
    let allowed = described.allowed(&descriptor);
    let lines = |title: &str, words: Vec<String>| {
        println!("{title}{}", if words.is_empty() { " nothing" } else { "" });
        words.iter().for_each(|word| println!("  {word}"));
    };
    lines(&format!("{name} {} is allowed:", described.manifest.version), allowed.words());
    let missing = described.asked.without(&allowed);
    if !missing.is_nothing() {
        lines("it asks for, and is not allowed:", missing.words());
    }
    Ok(())
}
