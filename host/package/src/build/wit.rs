//! The contract beside a module's own world, in the layout that tools for other languages read.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::script::ScriptError;

/// The packages of the contract, by folder.
const PACKAGES: [&str; 4] = ["host", "plugin", "services", "hooks"];

/// Where the contract comes from when a module keeps no copy of its own.
#[derive(Debug, Clone, Copy)]
pub enum Contract<'a> {
    /// A folder with `host/`, `plugin/`, `services/` and `hooks/`.
    Folder(&'a Path),
    /// Files by path below such a folder (`hooks/types.wit`), with their text.
    Files(&'a [(&'a str, &'a str)]),
}

/// One WIT file: where it goes below the staged folder, and its text.
type Staged = (PathBuf, String);

/// Every file of the staged folder for the module in `module`, ordered by path: its `wit/*.wit`, and its `wit/deps` or
/// else the contract.
///
/// # Errors
/// A file cannot be read, or there is no `wit/*.wit`.
pub(super) fn files(module: &Path, contract: Contract<'_>) -> Result<Vec<Staged>, ScriptError> {
    let own = module.join("wit");
    let mut staged = Vec::new();
    read(&own, Path::new(""), &mut staged)?;
    if staged.is_empty() {
        return Err(ScriptError::NoWorld(own));
    }
    let pinned = own.join("deps");
    if pinned.is_dir() {
        for package in folders(&pinned)? {
            let name = package.file_name().unwrap_or_default();
            read(&package, &Path::new("deps").join(name), &mut staged)?;
        }
    } else {
        match contract {
            Contract::Folder(folder) => {
                for package in PACKAGES {
                    read(&folder.join(package), &deps(package), &mut staged)?;
                }
            }
            Contract::Files(texts) => {
                for (path, text) in texts {
                    if let Some((package, file)) = path.split_once('/') {
                        staged.push((deps(package).join(file), (*text).to_owned()));
                    }
                }
            }
        }
    }
    staged.sort();
    Ok(staged)
}

/// Writes the files below `folder`, which is emptied first.
///
/// # Errors
/// The folder cannot be written.
pub(super) fn write(folder: &Path, files: &[Staged]) -> Result<(), ScriptError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(ScriptError::io(folder)(error));
        }
        _ => {}
    }
    for (path, text) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(ScriptError::io(parent))?;
        }
        fs::write(&path, text).map_err(ScriptError::io(&path))?;
    }
    Ok(())
}

fn deps(package: &str) -> PathBuf {
    Path::new("deps").join(format!("tessera-{package}"))
}

fn read(folder: &Path, below: &Path, staged: &mut Vec<Staged>) -> Result<(), ScriptError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(ScriptError::io(folder))?,
    };
    for entry in entries {
        let path = entry.map_err(ScriptError::io(folder))?.path();
        if path.extension().is_some_and(|end| end == "wit") && path.is_file() {
            let text = fs::read_to_string(&path).map_err(ScriptError::io(&path))?;
            staged.push((below.join(path.file_name().unwrap_or_default()), text));
        }
    }
    Ok(())
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, ScriptError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(ScriptError::io(folder))? {
        let path = entry.map_err(ScriptError::io(folder))?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(pinned: bool) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let wit = folder.path().join("wit");
        fs::create_dir_all(&wit).unwrap();
        fs::write(wit.join("world.wit"), "package local:module;").unwrap();
        if pinned {
            fs::create_dir_all(wit.join("deps/tessera-hooks")).unwrap();
            fs::write(wit.join("deps/tessera-hooks/hooks.wit"), "pinned").unwrap();
        }
        folder
    }

    const CONTRACT: Contract<'static> =
        Contract::Files(&[("hooks/types.wit", "types"), ("host/host.wit", "host")]);

    fn paths(staged: &[Staged]) -> Vec<String> {
        staged.iter().map(|(path, _)| path.display().to_string()).collect()
    }

    #[test]
    fn contract_stands_below_deps() {
        let staged = files(module(false).path(), CONTRACT).unwrap();
        assert_eq!(
            paths(&staged),
            ["deps/tessera-hooks/types.wit", "deps/tessera-host/host.wit", "world.wit"]
        );
    }

    #[test]
    fn pinned_copy_is_taken_instead_of_the_contract() {
        let staged = files(module(true).path(), CONTRACT).unwrap();
        assert_eq!(paths(&staged), ["deps/tessera-hooks/hooks.wit", "world.wit"]);
    }

    #[test]
    fn missing_world_is_named() {
        let empty = tempfile::tempdir().unwrap();
        let error = files(empty.path(), CONTRACT).unwrap_err().to_string();
        assert!(error.contains("world.wit"), "{error}");
    }

    #[test]
    fn staged_folder_holds_nothing_from_before() {
        let folder = tempfile::tempdir().unwrap();
        let wit = folder.path().join("wit");
        write(&wit, &[("old.wit".into(), "old".into())]).unwrap();
        write(&wit, &[("deps/a/new.wit".into(), "new".into())]).unwrap();
        assert!(!wit.join("old.wit").exists());
        assert_eq!(fs::read_to_string(wit.join("deps/a/new.wit")).unwrap(), "new");
    }
}
