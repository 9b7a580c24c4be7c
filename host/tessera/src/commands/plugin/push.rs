//! `tessera plugin push`

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use tessera_package::{
    Package,
    registry::{Access, Reference, push},
};

use crate::authoring::CAP;

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The package.
    file: PathBuf,
    /// Where to: oci://HOST/REPOSITORY:TAG.
    #[arg(value_name = "oci://…")]
    to: Reference,
    #[command(flatten)]
    registry: Registry,
}

/// How to speak to a registry.
#[derive(Debug, Args)]
pub(crate) struct Registry {
    /// Who logs in; the password is in TESSERA_REGISTRY_PASSWORD. None: as `docker login` has stored it, if at all.
    #[arg(long, value_name = "NAME", requires = "password")]
    user: Option<String>,
    #[arg(long, env = "TESSERA_REGISTRY_PASSWORD", hide = true, hide_env_values = true)]
    password: Option<String>,
    /// Speak plain HTTP to the registry, also where it is not on this machine.
    #[arg(long)]
    insecure: bool,
}

impl Registry {
    pub(crate) fn access(&self) -> Access {
        Access { login: self.user.clone().zip(self.password.clone()), insecure: self.insecure }
    }
}

/// Brings a package to a registry.
pub(crate) fn run(arguments: &Push) -> Result<()> {
    let package = Package::read_file(&arguments.file, CAP)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let to = &arguments.to;
    let digest = runtime
        .block_on(push(&package, to, &arguments.registry.access()))
        .with_context(|| format!("cannot push to {to}"))?;
    println!("{to}  {} {}  {digest}", package.name(), package.version());
    Ok(())
}
