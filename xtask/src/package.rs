//! One file per plug-in: the component with its manifest and migrations inside.

use crate::{plugins::Plugin, section};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Custom section with the text of `plugin.toml`.
pub(crate) const MANIFEST: &str = "tessera:manifest";
/// Custom section with a JSON array of `{name, sql}`, ordered by file name.
pub(crate) const MIGRATIONS: &str = "tessera:migrations";

#[derive(Serialize)]
struct Migration {
    name: String,
    sql: String,
}

/// The bytes of `plugin`'s file, from the component that cargo has built.
pub(crate) fn assemble(plugin: &Plugin, component: &Path) -> Result<Vec<u8>> {
    let bytes = read(component)?;
    if !section::is_component(&bytes) {
        bail!("{}: not a component; was it built for wasm32-wasip2?", component.display());
    }
    let manifest = plugin.dir.join("plugin.toml");
    let manifest = fs::read_to_string(&manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    let migrations = serde_json::to_vec(&migrations(&plugin.dir.join("migrations"))?)?;
    let bytes = section::append(bytes, MANIFEST, manifest.as_bytes());
    Ok(section::append(bytes, MIGRATIONS, &migrations))
}

/// Writes `bytes` to `path` at once, so that no reader sees half a file; says whether it had to.
pub(crate) fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = PathBuf::from(beside);
    fs::write(&beside, bytes).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

fn migrations(dir: &Path) -> Result<Vec<Migration>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "sql") {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let sql = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            found.push(Migration { name: name.unwrap_or_default(), sql });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for each test, removed at its end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            fs::create_dir_all(dir.join("migrations")).unwrap();
            Self(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn file_carries_manifest_and_migrations_in_order() {
        let scratch = Scratch::new("assemble");
        let dir = &scratch.0;
        fs::write(dir.join("plugin.toml"), "name = \"x\"\n").unwrap();
        fs::write(dir.join("migrations/0002-b.sql"), "B").unwrap();
        fs::write(dir.join("migrations/0001-a.sql"), "A").unwrap();
        fs::write(dir.join("migrations/notes.md"), "no").unwrap();
        fs::write(dir.join("x.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
        let plugin =
            Plugin { name: "x".into(), package: "x".into(), krate: "x".into(), dir: dir.clone() };
        let bytes = assemble(&plugin, &dir.join("x.wasm")).unwrap();
        let expected = r#"[{"name":"0001-a.sql","sql":"A"},{"name":"0002-b.sql","sql":"B"}]"#;
        assert!(bytes.ends_with(expected.as_bytes()));
        assert!(String::from_utf8_lossy(&bytes).contains("tessera:manifestname = \"x\"\n"));
    }

    #[test]
    fn core_module_is_refused() {
        let scratch = Scratch::new("refused");
        fs::write(scratch.0.join("x.wasm"), b"\0asm\x01\0\0\0").unwrap();
        let plugin = Plugin {
            name: "x".into(),
            package: "x".into(),
            krate: "x".into(),
            dir: scratch.0.clone(),
        };
        let error = assemble(&plugin, &scratch.0.join("x.wasm")).unwrap_err();
        assert!(error.to_string().contains("not a component"));
    }

    #[test]
    fn unchanged_file_is_not_written_again() {
        let scratch = Scratch::new("unchanged");
        let path = scratch.0.join("out.wasm");
        assert!(write_if_changed(&path, b"one").unwrap());
        assert!(!write_if_changed(&path, b"one").unwrap());
        assert!(write_if_changed(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 2, "no temporary file is left");
    }
}
