//! Where the server, the plug-ins and the client scripts are.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The workspace's root folder.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("..")).to_owned()
}

/// The server to test: `$TESSERA_BIN`, else `target/debug/tessera`.
///
/// # Errors
/// There is no such file; the message says which command builds it.
pub fn server() -> Result<PathBuf> {
    existing("TESSERA_BIN", "target/debug/tessera", "cargo xtask build")
}

/// The release build to measure: `$TESSERA_BIN`, else `target/release/tessera`.
///
/// # Errors
/// There is no such file; the message says which command builds it.
pub fn release_server() -> Result<PathBuf> {
    existing("TESSERA_BIN", "target/release/tessera", "cargo xtask build --release")
}

/// The folder of built plug-ins: `$TESSERA_PLUGINS`, else `target/plugins`.
///
/// # Errors
/// There is no such folder; the message says which command builds it.
pub fn plugins() -> Result<PathBuf> {
    existing("TESSERA_PLUGINS", "target/plugins", "cargo xtask build")
}

/// The folder of the guests that only tests and benchmarks load: `$TESSERA_FIXTURES`, else `target/fixtures`.
///
/// # Errors
/// There is no such folder; the message says which command builds it.
pub fn fixtures() -> Result<PathBuf> {
    existing("TESSERA_FIXTURES", "target/fixtures", "cargo xtask build --fixtures")
}

/// The harness that measures the engine: `$TESSERA_ENGINE_BENCH`, else `target/release/engine-bench`.
///
/// # Errors
/// There is no such file; the message says which command builds it.
pub fn engine_bench() -> Result<PathBuf> {
    existing("TESSERA_ENGINE_BENCH", "target/release/engine-bench", "cargo xtask bench engine")
}

/// The descriptor that makes a server testable (open registration, no rate limits, cheap passwords):
/// `$TESSERA_CONFIG`, else `config/testing.toml` where it exists.
#[must_use]
pub fn testing_config() -> Option<PathBuf> {
    match std::env::var_os("TESSERA_CONFIG") {
        Some(path) if path.is_empty() => None,
        Some(path) => Some(path.into()),
        None => Some(workspace().join("config/testing.toml")).filter(|path| path.exists()),
    }
}

/// Where servers under test share their compiled code, so that a start does not compile every component again.
#[must_use]
pub fn compiled_code() -> PathBuf {
    workspace().join("target/tmp/compiled-code")
}

fn existing(variable: &str, default: &str, command: &str) -> Result<PathBuf> {
    let (path, from) = match std::env::var_os(variable) {
        Some(path) => (PathBuf::from(path), format!("${variable}")),
        None => (workspace().join(default), format!("{default}, as ${variable} is not set")),
    };
    if !path.exists() {
        bail!("{} does not exist ({from}); build it with `{command}`", path.display());
    }
    Ok(path)
}
