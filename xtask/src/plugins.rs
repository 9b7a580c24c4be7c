//! Which plug-ins the repository has.

use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::path::PathBuf;

/// A plug-in or example module: a workspace package whose folder holds a `plugin.toml`.
#[derive(Debug)]
pub(crate) struct Plugin {
    /// The name of its folder; `NAME.wasm` is its file.
    pub(crate) name: String,
    /// The cargo package.
    pub(crate) package: String,
    /// Its crate, which names the file that cargo makes.
    pub(crate) krate: String,
    /// The folder with `plugin.toml` and `migrations/`.
    pub(crate) dir: PathBuf,
}

/// Finds all plug-ins below `plugins/` and `examples/`, ordered by name.
pub(crate) fn find(workspace: &Workspace) -> Result<Vec<Plugin>> {
    below(workspace, &["plugins", "examples"])
}

/// Finds the plug-ins below `tests/fixtures/`, which serve tests and benchmarks only.
pub(crate) fn fixtures(workspace: &Workspace) -> Result<Vec<Plugin>> {
    below(workspace, &["tests/fixtures"])
}

fn below(workspace: &Workspace, folders: &[&str]) -> Result<Vec<Plugin>> {
    let mut found = Vec::new();
    for package in &workspace.packages {
        let Some(dir) = package.manifest_path.parent() else { continue };
        let ours = folders.iter().any(|folder| dir.parent() == Some(&workspace.root.join(folder)));
        if !ours || !dir.join("plugin.toml").is_file() {
            continue;
        }
        let cdylib = |target: &&crate::workspace::Target| {
            target.crate_types.iter().any(|kind| kind == "cdylib")
        };
        let Some(target) = package.targets.iter().find(cdylib) else {
            bail!(
                "{}: a folder with plugin.toml must build a component: \
                 add `[lib] crate-type = [\"cdylib\", \"rlib\"]`",
                package.manifest_path.display()
            );
        };
        found.push(Plugin {
            name: dir.file_name().map(|name| name.to_string_lossy().into()).unwrap_or_default(),
            package: package.name.clone(),
            krate: target.name.replace('-', "_"),
            dir: dir.to_owned(),
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixtures_are_no_plug_ins_of_a_server() {
        let workspace = Workspace::load().unwrap();
        let names = |found: Vec<Plugin>| found.into_iter().map(|plugin| plugin.name);
        let plugins: Vec<String> = names(find(&workspace).unwrap()).collect();
        let fixtures: Vec<String> = names(fixtures(&workspace).unwrap()).collect();
        assert!(fixtures.iter().any(|name| name == "bench-provider"), "{fixtures:?}");
        assert!(plugins.iter().any(|name| name == "keyword-policy"), "{plugins:?}");
        assert!(!plugins.iter().any(|name| fixtures.contains(name)), "{plugins:?}");
    }
}
