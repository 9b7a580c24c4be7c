//! Debian packages, where this user may install them.

use crate::cmd::{Cmd, Run};
use anyhow::{Result, bail};
use std::fs;

/// The command that installs `packages`, for a reader to run.
pub(crate) fn command(packages: &[&str]) -> String {
    let sudo = if is_root() { "" } else { "sudo " };
    format!("{sudo}apt-get install --no-install-recommends {}", packages.join(" "))
}

/// Installs `packages` if apt-get is there and this user is root or has sudo without a password.
pub(crate) fn install(what: &str, packages: &[&str]) -> Result<()> {
    if Cmd::new("apt-get").args(["--version"]).read().is_none() {
        bail!("no apt-get on this machine to install {what}");
    }
    if !is_root() && Cmd::new("sudo").args(["-n", "true"]).read().is_none() {
        bail!("to install {what} run: {}", command(packages));
    }
    apt_get(["update"]).quiet("refresh the list of Debian packages").ok(); // an old list may do
    apt_get(["install", "--yes", "--no-install-recommends"])
        .args(packages.iter().copied())
        .quiet(&format!("install {what} with apt-get: {}", packages.join(" ")))
}

fn apt_get<const N: usize>(args: [&str; N]) -> Cmd {
    let cmd = if is_root() { Cmd::new("apt-get") } else { Cmd::new("sudo").args(["apt-get"]) };
    cmd.env("DEBIAN_FRONTEND", "noninteractive").args(args)
}

/// Whether this process runs as root. Where there is no /proc there is no apt-get either.
fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().nth(1)) // the effective one
        .is_some_and(|uid| uid == "0")
}
