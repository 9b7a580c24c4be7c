//! `tessera plugin reference`

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

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
        let lines =
            pages().into_iter().map(|page| format!("{:<36} {}\n", page.name, page.summary()));
        return print(&lines.collect::<String>());
    };
    let Some(page) = page(name) else {
        bail!("there is no interface `{name}`; `tessera plugin reference` lists them");
    };
    print(&page.markdown())
}

/// That a pager has seen enough is no error.
fn print(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
