//! `tessera plugin sign`

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use tessera_package::{Package, SecretKey, build::write_if_changed};

use crate::authoring::CAP;

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The package.
    #[arg(required_unless_present = "generate")]
    file: Option<PathBuf>,
    /// The file of the secret key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Make a new key, and print what `[modules] trusted-keys` needs.
    #[arg(long)]
    generate: bool,
}

/// Signs a package.
pub(crate) fn run(arguments: &Sign) -> Result<()> {
    if arguments.generate {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| anyhow!("no random bytes: {error}"))?;
        let key = SecretKey::from_seed(&seed);
        key.write_new(&arguments.key)?;
        eprintln!(
            "The secret key is in {}; whoever has it signs in your name.",
            arguments.key.display()
        );
        eprintln!("Operators who trust you write into their descriptor, under [modules]:");
        println!("trusted-keys = [{{ name = \"NAME\", key = \"{}\" }}]", key.public());
    }
    let Some(file) = &arguments.file else { return Ok(()) };
    let shown = file.display();
    let start = fs::read(file).with_context(|| format!("cannot read {shown}"))?;
    if start.starts_with(b"\0asm") {
        bail!(
            "{shown} is a module's file, which has no place for a signature; make a package of it: tessera plugin pack {shown} --key {}",
            arguments.key.display()
        );
    }
    let mut package = Package::read(start, CAP)?;
    package.sign(&SecretKey::read(&arguments.key)?);
    write_if_changed(file, &package.archive()?).with_context(|| format!("cannot write {shown}"))?;
    println!("{shown}  {} {}  {}", package.name(), package.version(), package.verify(&[]));
    Ok(())
}
