//! One file: the component with its manifest and migrations inside.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::BuildError;
use crate::section;

/// One file of `migrations/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// Its file name.
    pub name: String,
    /// Its text.
    pub sql: String,
}

/// The file of the module in `folder`, from its bare component.
///
/// # Errors
/// `component` is none, or a file of the folder cannot be read.
pub fn assemble(folder: &Path, component: Vec<u8>) -> Result<Vec<u8>, BuildError> {
    if !section::is_component(&component) {
        return Err(BuildError::NotAComponent { folder: folder.to_owned() });
    }
    let (manifest, migrations) = parts(folder)?;
    let migrations = serde_json::to_vec(&migrations)
        .map_err(|error| BuildError::io(&folder.join("migrations"))(io::Error::from(error)))?;
    let bytes = section::append(component, section::MANIFEST, manifest.as_bytes());
    Ok(section::append(bytes, section::MIGRATIONS, &migrations))
}

/// What goes into the file beside the component: the text of `plugin.toml`, and the migrations in order.
///
/// # Errors
/// A file cannot be read.
pub fn parts(folder: &Path) -> Result<(String, Vec<Migration>), BuildError> {
    let path = folder.join("plugin.toml");
    let manifest = fs::read_to_string(&path).map_err(BuildError::io(&path))?;
    Ok((manifest, migrations(&folder.join("migrations"))?))
}

/// Writes `bytes` to `path` at once, so that no reader sees half a file; says whether it had to.
///
/// # Errors
/// The file cannot be written.
pub fn write_if_changed(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = PathBuf::from(beside);
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path)?;
    Ok(true)
}

fn migrations(folder: &Path) -> Result<Vec<Migration>, BuildError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(BuildError::io(folder))? {
        let path = entry.map_err(BuildError::io(folder))?.path();
        if path.extension().is_some_and(|end| end == "sql") {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let sql = fs::read_to_string(&path).map_err(BuildError::io(&path))?;
            found.push(Migration { name: name.unwrap_or_default(), sql });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_carries_manifest_and_migrations_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        fs::create_dir(dir.join("migrations")).unwrap();
        fs::write(dir.join("plugin.toml"), "name = \"x\"\n").unwrap();
        fs::write(dir.join("migrations/0002-b.sql"), "B").unwrap();
        fs::write(dir.join("migrations/0001-a.sql"), "A").unwrap();
        fs::write(dir.join("migrations/notes.md"), "no").unwrap();
        let bytes = assemble(dir, b"\0asm\x0d\0\x01\0".to_vec()).unwrap();
        let expected = r#"[{"name":"0001-a.sql","sql":"A"},{"name":"0002-b.sql","sql":"B"}]"#;
        assert!(bytes.ends_with(expected.as_bytes()));
        assert!(String::from_utf8_lossy(&bytes).contains("tessera:manifestname = \"x\"\n"));
    }

    #[test]
    fn core_module_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = assemble(folder.path(), b"\0asm\x01\0\0\0".to_vec()).unwrap_err();
        assert!(error.to_string().contains("not a component"), "{error}");
    }

    #[test]
    fn unchanged_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert!(write_if_changed(&path, b"1").unwrap());
        assert!(!write_if_changed(&path, b"1").unwrap());
        assert!(write_if_changed(&path, b"2").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1); // nothing left beside it
    }
}
