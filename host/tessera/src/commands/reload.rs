//! `tessera reload`

use anyhow::{Result, bail};

use crate::cli::Settings;

/// Makes a running server read its descriptor and its plug-ins again.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let _ = settings;
    bail!("`tessera reload` is not in this build");
}
