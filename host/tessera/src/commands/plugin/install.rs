//! `tessera plugin install`

use anyhow::{Context, Result, bail};
use clap::Args;
use tessera_manifest::Sha256;

use crate::{
    cli::Settings,
    modules::{change::Change, consent, source},
};

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
    let settings = &arguments.settings;
    let descriptor = settings.descriptor()?;
    let found = source::find(&arguments.source, &descriptor, arguments.insecure)?;
    if let Some(wanted) = &arguments.sha256
        && *wanted != found.sha256
    {
        bail!(
            "{} is not the file that --sha256 names\n  expected {wanted}\n  found    {}",
            found.source,
            found.sha256
        );
    }
    let name = found.described.manifest.name.clone();
    if descriptor.plugins.contains_key(&name) {
        bail!(
            "there is a plug-in `{name}` already; `tessera plugin swap {name} FILE` puts another version in its place"
        );
    }
    let config = arguments.set.iter().map(|set| setting(set)).collect::<Result<_>>()?;
    print!("{}", consent::show(&found, &descriptor));
    let asked = &found.described.asked;
    let grants = consent::ask(&name, asked, &arguments.grants, arguments.yes)?;
    let allowed = asked.allowed(&grants);
    let staged = source::stage(&descriptor.server.data, &found)?;
    let change = Change::Install {
        name: name.clone(),
        file: staged.file,
        sha256: staged.sha256,
        grants,
        config,
    };
    let notes = change.carry_out(settings)?;
    println!("installed {name} {}", found.described.manifest.version);
    for line in allowed.words() {
        println!("  {line}");
    }
    for note in notes {
        println!("note: {note}");
    }
    Ok(())
}

/// `KEY=VALUE`.
fn setting(text: &str) -> Result<(String, serde_json::Value)> {
    let (key, value) =
        text.split_once('=').with_context(|| format!("`{text}`: expected KEY=VALUE"))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((key.to_owned(), value))
}
