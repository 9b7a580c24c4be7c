//! Where things lie, as cargo knows it.

use crate::cmd::Cmd;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::PathBuf;

/// The repository: its folder, its target folder and its packages.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where cargo puts what it builds.
    pub(crate) target: PathBuf,
    /// The workspace's own packages.
    pub(crate) packages: Vec<Package>,
}

/// A package of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    /// Its name in `Cargo.toml`.
    pub(crate) name: String,
    /// The path of its `Cargo.toml`.
    pub(crate) manifest_path: PathBuf,
    /// What it builds.
    pub(crate) targets: Vec<Target>,
}

/// Something that a package builds.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    /// The crate's name.
    pub(crate) name: String,
    /// `lib`, `cdylib`, `bin` and so on.
    pub(crate) crate_types: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

impl Workspace {
    /// Asks `cargo metadata`. Resolves no dependencies, so it needs no network.
    pub(crate) fn load() -> Result<Self> {
        let cmd =
            Cmd::cargo().args(["metadata", "--no-deps", "--format-version", "1"]).dir(&here());
        let output = cmd.command().output().with_context(|| format!("cannot start: {cmd}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            anyhow::bail!("cannot read the workspace: {}\nrun it by hand: {cmd}", said.trim());
        }
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).context("unexpected `cargo metadata` output")?;
        Ok(Self {
            root: metadata.workspace_root,
            target: metadata.target_directory,
            packages: metadata.packages,
        })
    }

    /// The server binary of a profile.
    pub(crate) fn binary(&self, release: bool) -> PathBuf {
        self.target.join(if release { "release" } else { "debug" }).join("tessera")
    }

    /// The folder with one `.wasm` file per plug-in.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// The folder of those that no server loads but that of a test or benchmark.
    pub(crate) fn fixtures(&self) -> PathBuf {
        self.target.join("fixtures")
    }
}

/// The folder of this package: as `cargo run` says, else as it was when xtask was built.
fn here() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}
