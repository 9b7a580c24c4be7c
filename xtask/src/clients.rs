//! The Matrix clients of the end-to-end tests: matrix-js-sdk from npm (also in Chromium), matrix-nio from PyPI, matrix-sdk for Rust.

use crate::{
    apt,
    cmd::{Cmd, Run},
    ui,
    workspace::Workspace,
};
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where Debian puts it.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Written beside what was installed: the texts it was installed from.
const STAMP: &str = ".xtask-stamp";

/// The folder of the npm package.
pub(crate) fn js(workspace: &Workspace) -> PathBuf {
    workspace.root.join("tests/clients/js")
}

/// The Python of the virtual environment.
pub(crate) fn python(workspace: &Workspace) -> PathBuf {
    workspace.target.join("venv/bin/python")
}

fn requirements(workspace: &Workspace) -> PathBuf {
    workspace.root.join("tests/clients/nio/requirements.txt")
}

/// Installs those from npm and PyPI, each only if its list of packages has changed.
pub(crate) fn set_up(workspace: &Workspace) -> Result<()> {
    set_up_js(workspace)?;
    set_up_nio(workspace)
}

/// Builds the client with matrix-sdk for Rust into `target/clients`: some minutes, the first time.
pub(crate) fn build_rust(workspace: &Workspace) -> Result<()> {
    let manifest = workspace.root.join("tests/clients/rust/Cargo.toml");
    let target = workspace.target.join("clients");
    Cmd::cargo()
        .args(["build", "--locked", "--manifest-path"])
        .args([manifest.to_string_lossy(), "--target-dir".into(), target.to_string_lossy()])
        .show("build matrix-sdk for Rust (a first build takes some minutes)")
}

/// Whether both are installed as the repository says now.
pub(crate) fn are_ready(workspace: &Workspace) -> bool {
    let js_stamp = js(workspace).join("node_modules").join(STAMP);
    let venv = workspace.target.join("venv");
    is_fresh(&js_stamp, &js_wanted(workspace))
        && is_fresh(&venv.join(STAMP), &read(&requirements(workspace)))
}

fn js_wanted(workspace: &Workspace) -> String {
    let dir = js(workspace);
    read(&dir.join("package.json")) + &read(&dir.join("package-lock.json"))
}

fn set_up_js(workspace: &Workspace) -> Result<()> {
    let dir = js(workspace);
    if !dir.join("package.json").is_file() {
        ui::note(&format!("no {}: nothing to install", dir.join("package.json").display()));
        return Ok(());
    }
    let stamp = dir.join("node_modules").join(STAMP);
    if is_fresh(&stamp, &js_wanted(workspace)) {
        return Ok(());
    }
    if !has_npm() {
        apt::install("npm", &["nodejs", "npm"])?;
    }
    let verb = if dir.join("package-lock.json").is_file() { "ci" } else { "install" };
    Cmd::new("npm")
        .args([verb, "--no-audit", "--no-fund"])
        .dir(&dir)
        .quiet("install matrix-js-sdk and Node 22 with npm")?;
    write_stamp(&stamp, &js_wanted(workspace)) // read again: `npm install` may write the lock file
}

/// Installs the browser that one of the scripts drives.
pub(crate) fn set_up_chromium() -> Result<()> {
    if Path::new(CHROMIUM).exists() {
        return Ok(());
    }
    apt::install("Chromium", &["chromium"])
}

fn set_up_nio(workspace: &Workspace) -> Result<()> {
    let requirements = requirements(workspace);
    if !requirements.is_file() {
        ui::note(&format!("no {}: nothing to install", requirements.display()));
        return Ok(());
    }
    let venv = workspace.target.join("venv");
    let stamp = venv.join(STAMP);
    if is_fresh(&stamp, &read(&requirements)) {
        return Ok(());
    }
    if !has_venv() {
        apt::install("Python", &["python3", "python3-venv"])?;
    }
    Cmd::new("python3")
        .args(["-m", "venv", "--clear"])
        .args([venv.to_string_lossy()])
        .quiet("make a Python environment in target/venv")?;
    Cmd::new(python(workspace).to_string_lossy())
        .args(["-m", "pip", "install", "--disable-pip-version-check", "-r"])
        .args([requirements.to_string_lossy()])
        .quiet("install matrix-nio with pip")?;
    write_stamp(&stamp, &read(&requirements))
}

/// Whether npm answers.
pub(crate) fn has_npm() -> bool {
    Cmd::new("npm").args(["--version"]).read().is_some()
}

/// Whether Python can make virtual environments with pip inside.
pub(crate) fn has_venv() -> bool {
    Cmd::new("python3").args(["-c", "import venv, ensurepip"]).read().is_some()
}

fn is_fresh(stamp: &Path, wanted: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|had| had == wanted)
}

fn write_stamp(stamp: &Path, text: &str) -> Result<()> {
    fs::write(stamp, text).with_context(|| format!("cannot write {}", stamp.display()))
}

/// A file's text, empty if there is none.
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
