//! `tessera plugin swap`

use anyhow::{Result, bail};
use clap::Args;
use tessera_manifest::{Descriptor, Percent, PluginName, TenantName};

use super::confirm;
use crate::{
    cli::Settings,
    modules::{
        change::{Change, described},
        source::{self, Found},
        version::VersionChange,
    },
};

#[derive(Debug, Args)]
pub(crate) struct Swap {
    /// The plug-in.
    name: PluginName,
    /// The new version: a plug-in's file, a package, or oci://HOST/REPOSITORY:TAG.
    #[arg(required_unless_present = "finish")]
    file: Option<String>,
    /// The part of calls that it gets at first, such as 5%.
    #[arg(long, value_name = "PERCENT")]
    canary: Option<Percent>,
    /// Only this tenant gets it at first; may be repeated.
    #[arg(long = "tenant", value_name = "NAME")]
    tenants: Vec<TenantName>,
    /// End a canary: all calls go to the new version.
    #[arg(long, conflicts_with_all = ["file", "canary", "tenants"])]
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
    let (name, settings) = (&arguments.name, &arguments.settings);
    let Some(file) = &arguments.file else {
        let change = Change::Version(VersionChange::Finish { name: name.clone() });
        let notes = change.carry_out(settings)?;
        println!("all calls of {name} go to the new version");
        notes.iter().for_each(|note| println!("note: {note}"));
        return Ok(());
    };
    let descriptor = settings.descriptor()?;
    let found = newer(name, file, &descriptor, arguments.yes)?;
    let version = &found.described.manifest.version;
    let staged = source::stage(&descriptor.server.data, &found)?;
    let (file, sha256, stop) = (staged.file, staged.sha256, arguments.yes_stop);
    let name = name.clone();
    let part = arguments.canary.is_some() || !arguments.tenants.is_empty();
    let change = if part {
        let share = arguments.canary.unwrap_or(Percent::WHOLE);
        let tenants = arguments.tenants.clone();
        VersionChange::Canary { name: name.clone(), file, sha256, share, tenants, stop }
    } else {
        VersionChange::Swap { name: name.clone(), file, sha256, stop }
    };
    let notes = Change::Version(change).carry_out(settings)?;
    if part {
        println!(
            "{name} {version} gets its part of the calls; `tessera plugin swap {name} --finish` gives it all, `tessera plugin rollback {name}` none"
        );
    } else {
        println!("swapped {name} to {version}; `tessera plugin rollback {name}` goes back");
    }
    notes.iter().for_each(|note| println!("note: {note}"));
    Ok(())
}

/// Another version of a plug-in that is there; what it asks for beyond the one that runs needs consent.
pub(super) fn newer(
    name: &PluginName,
    file: &str,
    descriptor: &Descriptor,
    yes: bool,
) -> Result<Found> {
    let found = source::find(file, descriptor, false)?;
    let own = &found.described.manifest.name;
    if own != name {
        bail!("{file} holds the plug-in `{own}`, not `{name}`");
    }
    let before = described(descriptor, name)?.asked;
    let allowed = found.described.allowed(descriptor);
    // What is allowed already is no news, whichever version asks.
    let more = allowed.without(&before);
    println!("{name} {}  {}", found.described.manifest.version, found.trust);
    if !more.is_nothing() {
        println!("It asks for more than the version that runs, and would be allowed it:");
        more.words().iter().for_each(|words| println!("  {words}"));
        if !yes {
            confirm("Take it, and allow this?")?;
        }
    }
    let missing = found.described.asked.without(&allowed);
    if !missing.is_nothing() {
        println!(
            "It asks for this, too, and is not allowed it (tessera plugin grant {name} {}):",
            missing.arguments().join(" ")
        );
        missing.words().iter().for_each(|words| println!("  {words}"));
    }
    Ok(found)
}
