//! `tessera plugin reference`

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use tessera_package::contract::{page, pages};

#[derive(Debug, Args)]
pub(crate) struct Reference {
    /// The interface, such as event-policy or tessera:host/storage. None: a list of all.
    interface: Option<String>,
    /// Write a page for each interface into this folder instead.
    #[arg(long, value_name = "DIR", conflicts_with = "interface")]
    out: Option<PathBuf>,
}

/// Prints what the contract says.
pub(crate) fn run(arguments: &Reference) -> Result<()> {
    if let Some(folder) = &arguments.out {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for page in pages() {
            let path = folder.join(page.file());
            fs::write(&path, page.markdown())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        return Ok(());
    }
    let Some(name) = &arguments.interface else {
        for page in pages() {
            println!("{:<36} {}", page.name, page.summary());
        }
        return Ok(());
    };
    let Some(page) = page(name) else {
        bail!("there is no interface `{name}`; `tessera plugin reference` lists them");
    };
    print!("{}", page.markdown());
    Ok(())
}
