//! The compiler for guests, installed where it is missing.

use crate::{
    cmd::{Cmd, Run},
    ui,
};
use anyhow::{Result, bail};
use tessera_package::build::{PACKAGES, allowed};

pub(crate) use tessera_package::build::{TARGET, Toolchain, fix};

/// One of the two ways, installed if need be: rustup's first.
pub(crate) fn find_or_install() -> Result<Toolchain> {
    if let Some(found) = Toolchain::find() {
        return Ok(found);
    }
    install();
    match Toolchain::find() {
        Some(found) => Ok(found),
        None => bail!("no compiler for guests ({TARGET}); either of these gives one:\n{}", fix()),
    }
}

fn install() {
    if allowed("rustup") && Cmd::new("rustup").args(["--version"]).read().is_some() {
        let add = Cmd::new("rustup").args(["target", "add", TARGET]);
        match add.quiet(&format!("install the guest target {TARGET} with rustup")) {
            Ok(()) => return,
            Err(_) => ui::note("rustup cannot add the target here; trying Debian's packages"),
        }
    }
    if allowed("debian")
        && let Err(error) = crate::apt::install("the guest compiler", &PACKAGES)
    {
        ui::error(&error);
    }
}
