//! Components from JavaScript and Python sources, made anew only when something that goes into them has changed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{
    javascript, python,
    tools::Tools,
    wit::{self, Contract},
};

/// A language whose modules carry their own engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// A folder with `package.json`; its `main` is the entry (default `src/module.js`).
    JavaScript,
    /// A folder with `src/module.py`.
    Python,
}

/// Why there is no component.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// A file or folder cannot be read or written.
    #[error("{path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program is missing.
    #[error("{what}: cannot start it")]
    Start {
        /// The step.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error("{what} failed:\n{said}")]
    Failed {
        /// The step.
        what: String,
        /// The end of what it wrote.
        said: String,
    },
    /// The module does not say what it imports and exports.
    #[error("{0}: no world.wit says what the module imports and exports")]
    NoWorld(PathBuf),
    /// `package.json` is not what it should be.
    #[error("{0}: `main` must be a path below the module's folder")]
    Entry(PathBuf),
}

impl ScriptError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

impl Script {
    /// The language of the module in `folder`, if it is one of these.
    #[must_use]
    pub fn of(folder: &Path) -> Option<Self> {
        if folder.join("package.json").is_file() {
            Some(Self::JavaScript)
        } else if folder.join("src/module.py").is_file() {
            Some(Self::Python)
        } else {
            None
        }
    }

    /// Makes the bare component of the module in `module`: no manifest and no migrations inside yet. Intermediate files and
    /// the last result are kept in `work`; if nothing has changed since, that is the answer. Tools that are missing are
    /// installed.
    ///
    /// # Errors
    /// A tool is missing or does not like the sources; the text carries what it wrote.
    pub fn build(
        self,
        module: &Path,
        contract: Contract<'_>,
        tools: &Tools,
        work: &Path,
    ) -> Result<Vec<u8>, ScriptError> {
        let wit = wit::files(module, contract)?;
        let mut sources = Vec::new();
        collect(&module.join("src"), &mut sources)?;
        collect(&module.join("package.json"), &mut sources)?;
        let inputs = digest(&wit, &sources, module);

        let (stamp, made) = (work.join("inputs.sha256"), work.join("component.wasm"));
        if fs::read_to_string(&stamp).is_ok_and(|had| had == inputs)
            && let Ok(bytes) = fs::read(&made)
        {
            return Ok(bytes);
        }
        fs::create_dir_all(work).map_err(ScriptError::io(work))?;
        fs::remove_file(&stamp).ok(); // what follows may fail half-way
        let staged = work.join("wit");
        wit::write(&staged, &wit)?;
        match self {
            Self::JavaScript => {
                tools.install_javascript()?;
                javascript::componentize(module, &staged, tools, &made)?;
            }
            Self::Python => {
                tools.install_python()?;
                python::componentize(module, &staged, tools, &made)?;
            }
        }
        let bytes = fs::read(&made).map_err(ScriptError::io(&made))?;
        fs::write(&stamp, inputs).map_err(ScriptError::io(&stamp))?;
        Ok(bytes)
    }
}

/// Runs a program to its end; what it wrote is told only if it fails.
pub(super) fn run(mut command: Command, what: &str) -> Result<(), ScriptError> {
    let start = |source| ScriptError::Start { what: what.to_owned(), source };
    let output = command.stdin(Stdio::null()).output().map_err(start)?;
    if output.status.success() {
        return Ok(());
    }
    let both = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&both);
    let lines: Vec<&str> = text.lines().collect();
    // 40 lines: an error of either tool with its trace, not the progress before it.
    let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default();
    Err(ScriptError::Failed { what: what.to_owned(), said: tail.join("\n") })
}

/// Every source below `path`, without what tools leave behind.
fn collect(path: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) -> Result<(), ScriptError> {
    if path.is_file() {
        found.push((path.to_owned(), fs::read(path).map_err(ScriptError::io(path))?));
    } else if path.is_dir() {
        for entry in fs::read_dir(path).map_err(ScriptError::io(path))? {
            let path = entry.map_err(ScriptError::io(path))?.path();
            if path.file_name().is_some_and(|name| name != "__pycache__") {
                collect(&path, found)?;
            }
        }
    }
    Ok(())
}

fn digest(wit: &[(PathBuf, String)], sources: &[(PathBuf, Vec<u8>)], module: &Path) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    Tools::versions().iter().for_each(|version| add(version.as_bytes()));
    add(javascript::DRIVER.as_bytes());
    for (path, text) in wit {
        add(path.as_os_str().as_encoded_bytes());
        add(text.as_bytes());
    }
    let mut sources: Vec<_> = sources.iter().collect();
    sources.sort();
    for (path, bytes) in sources {
        add(path.strip_prefix(module).unwrap_or(path).as_os_str().as_encoded_bytes());
        add(bytes);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_is_told_by_the_files() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Script::of(folder.path()), None);
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/module.py"), "").unwrap();
        assert_eq!(Script::of(folder.path()), Some(Script::Python));
        fs::write(folder.path().join("package.json"), "{}").unwrap();
        assert_eq!(Script::of(folder.path()), Some(Script::JavaScript));
    }

    #[test]
    fn digest_follows_names_and_contents() {
        let wit = [(PathBuf::from("world.wit"), "world".to_owned())];
        let of = |name: &str, text: &str| {
            digest(&wit, &[(PathBuf::from(name), text.into())], Path::new("/m"))
        };
        assert_eq!(of("/m/a", "1"), of("/m/a", "1"));
        assert_ne!(of("/m/a", "1"), of("/m/b", "1"));
        assert_ne!(of("/m/a", "1"), of("/m/a", "2"));
    }

    #[test]
    fn failing_program_tells_what_it_wrote() {
        let mut sh = Command::new("sh");
        sh.args(["-c", "echo out; echo err >&2; exit 3"]);
        let error = run(sh, "the step").unwrap_err().to_string();
        assert!(["the step", "out", "err"].iter().all(|part| error.contains(part)), "{error}");
    }

    #[test]
    fn missing_program_names_the_step() {
        let error = run(Command::new("/no/such/program"), "the step").unwrap_err().to_string();
        assert!(error.contains("the step"), "{error}");
    }
}
