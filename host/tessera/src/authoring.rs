//! What the tools for a module's author share.

mod scratch;

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tessera_package::{
    Package, Provenance,
    build::{Module, Tools, write_if_changed},
};

pub(crate) use self::scratch::Scratch;

/// Bytes of a component that tools of an author read; what a server takes is in its descriptor.
pub(crate) const CAP: u64 = 256 << 20;

/// A module that was built from its folder.
pub(crate) struct Built {
    /// Its file.
    pub(crate) path: PathBuf,
    pub(crate) package: Package,
}

/// Builds the module in `folder` into `out`, else into `target/NAME.wasm` there.
pub(crate) fn build(folder: &Path, out: Option<&Path>) -> Result<Built> {
    let module = Module::open(folder)?;
    let note = |text: &str| eprintln!("{text}");
    let bytes = module.build(&tools(), &note)?;
    let package = Package::new(bytes, Provenance::default())
        .with_context(|| format!("{}/plugin.toml", folder.display()))?;
    let path = match out {
        Some(out) => out.to_owned(),
        None => module.work().join(format!("{}.wasm", package.name())),
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot make {}", parent.display()))?;
    }
    write_if_changed(&path, package.component())
        .with_context(|| format!("cannot write {}", path.display()))?;
    let path = path.canonicalize().with_context(|| format!("cannot reach {}", path.display()))?;
    Ok(Built { path, package })
}

/// Where the tools for JavaScript and Python lie, shared by all modules of a user.
pub(crate) fn tools() -> Tools {
    Tools::new(env::var_os("TESSERA_TOOLS").map_or_else(|| cache().join("tools"), PathBuf::from))
}

/// The folder of what can be had again.
pub(crate) fn cache() -> PathBuf {
    let filled = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    filled("XDG_CACHE_HOME")
        .or_else(|| Some(filled("HOME")?.join(".cache")))
        .unwrap_or_else(env::temp_dir)
        .join("tessera")
}
