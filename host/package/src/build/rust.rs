//! Cargo: a module in Rust.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde::Deserialize;

use super::{BuildError, Cmd, TARGET, Toolchain};

/// A cargo package that becomes a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RustBuild {
    folder: PathBuf,
    package: String,
    /// Names the file that cargo makes.
    krate: String,
    /// Where cargo builds. A folder of our own below its own: another compiler must not share that.
    target: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

impl RustBuild {
    /// Asks cargo about the package in `folder`. Needs no network.
    ///
    /// # Errors
    /// Cargo does not understand the folder, or its package builds no `cdylib`.
    pub fn of(folder: &Path) -> Result<Self, BuildError> {
        let wrong = |why: String| BuildError::Package { folder: folder.to_owned(), why };
        let cargo =
            Cmd::cargo().args(["metadata", "--no-deps", "--format-version", "1"]).dir(folder);
        let output = cargo
            .command()
            .output()
            .map_err(|error| wrong(format!("cannot start cargo: {error}")))?;
        if !output.status.success() {
            return Err(wrong(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout)
            .map_err(|error| wrong(format!("odd output of cargo metadata: {error}")))?;
        let here = fs::canonicalize(folder).map_err(BuildError::io(folder))?;
        let mut packages = metadata.packages.into_iter();
        let package = packages
            .find(|package| package.manifest_path.parent() == Some(&here))
            .ok_or_else(|| wrong("its Cargo.toml is of no package".to_owned()))?;
        let cdylib = |target: &&Target| target.crate_types.iter().any(|kind| kind == "cdylib");
        let Some(target) = package.targets.iter().find(cdylib) else {
            return Err(wrong(
                "its package builds no component: add `[lib] crate-type = [\"cdylib\", \"rlib\"]` to Cargo.toml".to_owned(),
            ));
        };
        Ok(Self {
            krate: target.name.replace('-', "_"),
            package: package.name,
            target: metadata.target_directory.join("component"),
            folder: here,
        })
    }

    /// Builds the bare component, optimised. What cargo says is shown as it comes.
    ///
    /// # Errors
    /// Cargo cannot be started or fails.
    pub fn build(&self, toolchain: &Toolchain) -> Result<Vec<u8>, BuildError> {
        let cargo = toolchain
            .cargo_build()
            .args(["--release", "-p", &self.package, "--target-dir"])
            .args([self.target.to_string_lossy()])
            .dir(&self.folder);
        let status = cargo.command().stdin(Stdio::null()).status();
        let failed = |status: String| BuildError::Cargo { status, command: cargo.to_string() };
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(failed(status.to_string())),
            Err(error) => return Err(failed(error.to_string())),
        }
        let made = self.target.join(TARGET).join("release").join(format!("{}.wasm", self.krate));
        fs::read(&made).map_err(BuildError::io(&made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(lib: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("[package]\nname = \"a-b\"\nversion = \"1.0.0\"\n[workspace]\n{lib}");
        fs::write(folder.path().join("Cargo.toml"), text).unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/lib.rs"), "").unwrap();
        folder
    }

    #[test]
    fn cdylib_names_the_file() {
        let folder = package("[lib]\ncrate-type = [\"cdylib\"]\n");
        assert_eq!(RustBuild::of(folder.path()).unwrap().krate, "a_b");
    }

    #[test]
    fn package_without_cdylib_is_told_what_to_add() {
        let error = RustBuild::of(package("").path()).unwrap_err().to_string();
        assert!(error.contains("add `[lib] crate-type"), "{error}");
    }
}
