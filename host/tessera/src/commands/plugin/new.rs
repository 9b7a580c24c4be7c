//! `tessera plugin new`

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use tessera_manifest::PluginName;
use tessera_package::template::{Template, TemplateLanguage};

#[derive(Debug, Args)]
pub(crate) struct New {
    /// The folder to make; its last part is the module's name unless --name says otherwise.
    folder: PathBuf,
    /// The language to write it in.
    #[arg(long, value_enum, default_value = "rust")]
    lang: Lang,
    /// Its name.
    #[arg(long)]
    name: Option<PluginName>,
    /// A hook that it answers, such as room-policy; may be repeated. None: event-policy, with an example that does something.
    #[arg(long = "hook", value_name = "NAME")]
    hooks: Vec<String>,
    /// A folder of the Rust SDK to build on, in place of a copy of the contract alone.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    Rust,
    Javascript,
    Python,
}

/// Makes the folder of a module that builds and runs.
pub(crate) fn run(arguments: &New) -> Result<()> {
    let folder = &arguments.folder;
    let shown = folder.display();
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => {
            let last =
                folder.file_name().context("the folder has no name; give one with --name")?;
            last.to_string_lossy().parse().map_err(|error| {
                anyhow!("the folder's name is no name for a module: {error}; give one with --name")
            })?
        }
    };
    let there = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if there {
        bail!("{shown} is not empty");
    }
    let sdk = arguments.sdk.as_ref().map(|sdk| {
        sdk.canonicalize().with_context(|| format!("no folder of the SDK: {}", sdk.display()))
    });
    let sdk = sdk.transpose()?;
    let language = match arguments.lang {
        Lang::Rust => TemplateLanguage::Rust,
        Lang::Javascript => TemplateLanguage::JavaScript,
        Lang::Python => TemplateLanguage::Python,
    };
    let template =
        Template { language, name: name.as_str(), hooks: &arguments.hooks, sdk: sdk.as_deref() };
    for (path, text) in template.files()? {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{shown} is the module `{name}`. Next:");
    println!("  cd {shown} && tessera plugin test");
    Ok(())
}
