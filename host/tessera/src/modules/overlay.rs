//! `modules.toml`: what commands have changed, over the operator's descriptor.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

/// What the file begins with.
const HEAD: &str = "\
# Written by `tessera plugin …`, over the descriptor. `tessera plugin list` shows what comes from here.

";

/// Bytes of the file at most.
const MAX: u64 = 1 << 20;

/// Tables that it may have: others belong into the operator's own file.
const TABLES: [&str; 2] = ["plugins", "hooks"];

/// Keys of a plug-in that hold a `source` of their own.
const VERSIONS: [&str; 3] = ["canary", "shadow", "before"];

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Overlay {
    data: PathBuf,
    table: Table,
}

impl Overlay {
    /// Reads that of a data folder; without the file nothing is changed.
    pub(crate) fn read(data: &Path) -> Result<Self> {
        let file = file(data);
        let shown = file.display();
        let text = match fs::metadata(&file) {
            Ok(found) if found.len() > MAX => {
                bail!("{shown} has {} bytes; no more than {MAX} are read", found.len());
            }
            Ok(_) => fs::read_to_string(&file).with_context(|| format!("cannot read {shown}"))?,
            // A data folder that cannot be one is named by whoever needs it.
            Err(error)
                if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory]
                    .contains(&error.kind()) =>
            {
                String::new()
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
        };
        let table: Table = text.parse().with_context(|| format!("{shown} is damaged"))?;
        if let Some(other) = table.keys().find(|key| !TABLES.contains(&key.as_str())) {
            bail!("{shown} has `[{other}]`; only {} belong there", TABLES.join(" and "));
        }
        Ok(Self { data: data.to_owned(), table })
    }

    /// The name of the file.
    pub(crate) fn file(&self) -> PathBuf {
        file(&self.data)
    }

    /// `[plugins.NAME]`, to be changed; made where it is not there.
    pub(crate) fn plugin(&mut self, name: &str) -> &mut Table {
        sub(sub(&mut self.table, "plugins"), name)
    }

    /// `[plugins.NAME]`.
    pub(crate) fn get(&self, name: &str) -> Option<&Table> {
        self.table.get("plugins")?.as_table()?.get(name)?.as_table()
    }

    /// Forgets all about a plug-in, its places in the order of hooks too. Gives whether there was anything.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let plugins = self.table.get_mut("plugins").and_then(Value::as_table_mut);
        let removed = plugins.is_some_and(|plugins| plugins.remove(name).is_some());
        let order = self.table.get_mut("hooks").and_then(|hooks| hooks.get_mut("order"));
        for (_, names) in order.and_then(Value::as_table_mut).into_iter().flatten() {
            if let Some(names) = names.as_array_mut() {
                names.retain(|other| other.as_str() != Some(name));
            }
        }
        removed
    }

    /// Says who is asked first about a hook.
    pub(crate) fn order(&mut self, hook: &str, plugins: &[String]) {
        let order = sub(sub(&mut self.table, "hooks"), "order");
        let names = plugins.iter().map(|name| Value::String(name.clone())).collect();
        order.insert(hook.to_owned(), Value::Array(names));
    }

    /// As it is laid over the descriptor: files of its own are named in full.
    pub(crate) fn resolved(&self) -> Table {
        let mut table = self.table.clone();
        let plugins = table.get_mut("plugins").and_then(Value::as_table_mut);
        let folder = folder(&self.data);
        // Relative ones would be looked for among the plug-ins that came with the server.
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        for (_, plugin) in plugins.into_iter().flatten() {
            let Some(plugin) = plugin.as_table_mut() else { continue };
            resolve(plugin, &folder);
            for version in VERSIONS {
                if let Some(version) = plugin.get_mut(version).and_then(Value::as_table_mut) {
                    resolve(version, &folder);
                }
            }
        }
        table
    }

    /// Keeps it, all or nothing.
    pub(crate) fn write(&self) -> Result<()> {
        let file = self.file();
        self.replace(&file).with_context(|| format!("cannot write {}", file.display()))
    }

    fn replace(&self, file: &Path) -> io::Result<()> {
        let text = format!("{HEAD}{}", toml::to_string(&self.table).map_err(io::Error::other)?);
        let mut new = tempfile::NamedTempFile::new_in(&self.data)?;
        new.write_all(text.as_bytes())?;
        // The folder is its owner's alone; but the tool may be somebody else than the server.
        new.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        new.as_file().sync_all()?;
        new.persist(file)?;
        File::open(&self.data)?.sync_all()
    }
}

/// Where it lies.
fn file(data: &Path) -> PathBuf {
    data.join("modules.toml")
}

/// Where files that were installed lie.
pub(super) fn folder(data: &Path) -> PathBuf {
    data.join("modules")
}

fn resolve(table: &mut Table, folder: &Path) {
    if let Some(Value::String(source)) = table.get_mut("source") {
        *source = folder.join(&*source).display().to_string();
    }
}

fn sub<'a>(table: &'a mut Table, key: &str) -> &'a mut Table {
    let value = table.entry(key).or_insert_with(|| Value::Table(Table::new()));
    if !value.is_table() {
        *value = Value::Table(Table::new());
    }
    match value {
        Value::Table(table) => table,
        _ => unreachable!("it was made a table"),
    }
}

#[cfg(test)]
mod tests {
    use super::Overlay;

    #[test]
    fn what_is_written_is_read_again() {
        let data = tempfile::tempdir().unwrap();
        let mut overlay = Overlay::read(data.path()).unwrap();
        assert_eq!(overlay, Overlay { data: data.path().to_owned(), ..Overlay::default() });
        overlay.plugin("a").insert("source".to_owned(), "a-1.wasm".into());
        overlay.plugin("a").insert("enabled".to_owned(), true.into());
        overlay.order("x:hooks/y", &["b".to_owned(), "a".to_owned()]);
        overlay.write().unwrap();
        let mut read = Overlay::read(data.path()).unwrap();
        assert_eq!(read, overlay);
        let resolved = read.resolved();
        let source = resolved["plugins"]["a"]["source"].as_str().unwrap();
        assert_eq!(source, data.path().join("modules/a-1.wasm").to_str().unwrap());
        assert!(read.remove("a") && !read.remove("a"));
        assert_eq!(read.table["hooks"]["order"]["x:hooks/y"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn what_does_not_belong_there_is_refused() {
        let data = tempfile::tempdir().unwrap();
        for (text, said) in [("[server]\n", "`[server]`"), ("x", "damaged")] {
            std::fs::write(data.path().join("modules.toml"), text).unwrap();
            let error = Overlay::read(data.path()).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
