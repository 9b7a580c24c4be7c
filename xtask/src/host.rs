//! Builds the server.

use crate::{
    cmd::{Cmd, Run},
    workspace::Workspace,
};
use anyhow::Result;

/// Builds `target/<profile>/tessera`.
///
/// The whole workspace is selected although one binary is built: cargo unifies features over the
/// packages selected, and with the same selection everywhere wasmtime and its like build once.
pub(crate) fn build(workspace: &Workspace, release: bool) -> Result<()> {
    need_c_compiler()?;
    let profile = if release { "release" } else { "debug" };
    Cmd::cargo()
        .args(["build", "--workspace", "--bin", "tessera"])
        .args(release.then_some("--release"))
        .dir(&workspace.root)
        .show(&format!("build the server ({profile}; a first build takes some minutes)"))
}

/// Makes sure that there is a C compiler: SQLite and ring are C.
pub(crate) fn need_c_compiler() -> Result<()> {
    if has_c_compiler() {
        return Ok(());
    }
    crate::apt::install("a C compiler", &["build-essential"])
}

/// Whether a C compiler answers: `$CC`, else `cc`.
pub(crate) fn has_c_compiler() -> bool {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    Cmd::new(compiler).args(["--version"]).read().is_some()
}
