//! `docs`: the reference of the contract, from the comments in `wit/`.

use crate::{ui, workspace::Workspace};
use anyhow::{Context, Result};
use std::fs;
use tessera_package::contract::pages;

/// Writes a page for each interface, and a list of them.
pub(crate) fn docs() -> Result<()> {
    let folder = Workspace::load()?.target.join("docs/reference");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut list = "# Interfaces\n\n".to_owned();
    let pages = pages();
    for page in &pages {
        let file = page.file();
        list += &format!("- [{}]({file}): {}\n", page.name, page.summary());
        let path = folder.join(file);
        fs::write(&path, page.markdown())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let path = folder.join("README.md");
    fs::write(&path, list).with_context(|| format!("cannot write {}", path.display()))?;
    ui::note(&format!("{}: {} pages", folder.display(), pages.len()));
    Ok(())
}
