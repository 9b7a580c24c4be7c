//! A module's folder, and what makes a file of it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{
    RustBuild, Script, ScriptError, Toolchain, assemble, fix, tools::Tools, wit::Contract,
};
use crate::embedded::CONTRACT;

/// Why there is no file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder holds no `plugin.toml`, or sources of no known language.
    #[error("{folder}: not a module's folder: {why}", folder = .folder.display())]
    NotAModule {
        /// The folder.
        folder: PathBuf,
        /// What is missing.
        why: &'static str,
    },
    /// The sources were built to something else.
    #[error(
        "{folder}: what was built is not a component; is it built for wasm32-wasip2?",
        folder = .folder.display()
    )]
    NotAComponent {
        /// The module's folder.
        folder: PathBuf,
    },
    /// No Rust compiler for components is installed.
    #[error("no compiler for modules in Rust; either of these gives one:\n{}", fix())]
    NoToolchain,
    /// Cargo failed; it has written why.
    #[error("cargo failed ({status}); to run it by hand: {command}")]
    Cargo {
        /// Its exit.
        status: String,
        /// The command.
        command: String,
    },
    /// Cargo's description of the folder is not what is needed.
    #[error("{folder}: {why}", folder = .folder.display())]
    Package {
        /// The module's folder.
        folder: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// JavaScript or Python.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

impl BuildError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// What a module is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// A cargo package that builds a `cdylib`.
    Rust,
    /// Runs in an engine of its own, which its file carries.
    Script(Script),
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "Rust",
            Self::Script(Script::JavaScript) => "JavaScript",
            Self::Script(Script::Python) => "Python",
        })
    }
}

/// A module's folder.
#[derive(Debug, Clone)]
pub struct Module {
    /// With `plugin.toml`, `migrations/` and the sources.
    pub folder: PathBuf,
    /// What the sources are.
    pub language: Language,
}

impl Module {
    /// Looks at a folder.
    ///
    /// # Errors
    /// It is not a module's.
    pub fn open(folder: &Path) -> Result<Self, BuildError> {
        let not = |why| BuildError::NotAModule { folder: folder.to_owned(), why };
        if !folder.join("plugin.toml").is_file() {
            return Err(not("it has no plugin.toml"));
        }
        let language = match Script::of(folder) {
            _ if folder.join("Cargo.toml").is_file() => Language::Rust,
            Some(script) => Language::Script(script),
            None => return Err(not("it has no Cargo.toml, package.json or src/module.py")),
        };
        Ok(Self { folder: folder.to_owned(), language })
    }

    /// Where its intermediate files go; safe to remove.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.folder.join("target")
    }

    /// Builds the module's file, with the contract of this program unless the module has a copy of its own. Tools for
    /// JavaScript and Python are installed into `tools` where they are missing; a Rust compiler is not. `note` is told
    /// what takes long.
    ///
    /// # Errors
    /// A tool is missing or does not like the sources.
    pub fn build(&self, tools: &Tools, note: &dyn Fn(&str)) -> Result<Vec<u8>, BuildError> {
        let component = match self.language {
            Language::Rust => {
                let toolchain = Toolchain::find().ok_or(BuildError::NoToolchain)?;
                note(&format!("build with cargo ({toolchain})"));
                RustBuild::of(&self.folder)?.build(&toolchain)?
            }
            Language::Script(script) => {
                let (there, what) = match script {
                    Script::JavaScript => (tools.has_javascript(), "componentize-js"),
                    Script::Python => (tools.has_python(), "componentize-py"),
                };
                if !there {
                    note(&format!("install {what}, once; this takes a minute"));
                }
                note(&format!("build with {what}"));
                script.build(&self.folder, Contract::Files(CONTRACT), tools, &self.work())?
            }
        };
        assemble(&self.folder, component)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn language_is_told_by_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let why = |dir| Module::open(dir).unwrap_err().to_string();
        assert!(why(dir).contains("no plugin.toml"), "{}", why(dir));
        fs::write(dir.join("plugin.toml"), "").unwrap();
        assert!(why(dir).contains("no Cargo.toml, package.json"), "{}", why(dir));
        fs::write(dir.join("package.json"), "{}").unwrap();
        let script = Language::Script(Script::JavaScript);
        assert_eq!(Module::open(dir).unwrap().language, script);
        fs::write(dir.join("Cargo.toml"), "").unwrap();
        assert_eq!(Module::open(dir).unwrap().language, Language::Rust);
    }
}
