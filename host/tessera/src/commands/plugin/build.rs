//! `tessera plugin build`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::size;
use crate::authoring;

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The module's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The file to make; none: NAME.wasm in the folder's `target`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Builds a module into one file.
pub(crate) fn run(arguments: &Build) -> Result<()> {
    let built = authoring::build(&arguments.folder, arguments.out.as_deref())?;
    let package = &built.package;
    println!(
        "{} {}  {}  {}",
        package.name(),
        package.version(),
        size(package.component().len()),
        built.path.display()
    );
    Ok(())
}
