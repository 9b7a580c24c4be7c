//! `tessera plugin order`

use anyhow::Result;
use clap::Args;
use tessera_manifest::{InterfaceName, PluginName};

use crate::{cli::Settings, modules::change::Change};

#[derive(Debug, Args)]
pub(crate) struct Order {
    /// The hook, such as tessera:hooks/event-policy.
    hook: InterfaceName,
    /// Who is asked first, in this order; others follow by name.
    #[arg(required = true)]
    names: Vec<PluginName>,
    #[command(flatten)]
    settings: Settings,
}

/// Says in which order plug-ins are asked about a hook.
pub(crate) fn run(arguments: &Order) -> Result<()> {
    let Order { hook, names: plugins, settings } = arguments;
    let change = Change::Order { hook: hook.clone(), plugins: plugins.clone() };
    for note in change.carry_out(settings)? {
        println!("note: {note}");
    }
    let names: Vec<&str> = plugins.iter().map(PluginName::as_str).collect();
    println!("{hook}: {}", names.join(", "));
    Ok(())
}
