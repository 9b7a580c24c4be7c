//! What can be wrong with a package.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Why a package cannot be had, made or moved.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PackageError {
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Larger than is allowed.
    #[error("{what} has {size} bytes, over the cap of {cap}")]
    TooLarge {
        /// What.
        what: String,
        /// Its bytes.
        size: u64,
        /// How many there may be.
        cap: u64,
    },
    /// Neither a module's file nor an archive of one.
    #[error("not a module: {0}")]
    NotAModule(String),
    /// An archive or a registry's answer is not a module's package.
    #[error("not a module's package: {0}")]
    Malformed(String),
    /// Content is not what its digest says.
    #[error("{what} is not what its digest says\n  expected {expected}\n  found    {found}")]
    Digest {
        /// What.
        what: &'static str,
        /// As the package says.
        expected: String,
        /// As it is.
        found: String,
    },
    /// A key's file or text.
    #[error("{0}")]
    Key(String),
    /// The name of a package in a registry.
    #[error("`{text}` names no package: {why}")]
    Reference {
        /// As given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A registry refused or could not be reached.
    #[error("{registry}: {why}")]
    Registry {
        /// Which.
        registry: String,
        /// What it said.
        why: String,
    },
}

impl PackageError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
