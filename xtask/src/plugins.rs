//! Which plug-ins the repository has.

use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::{fs, path::PathBuf};
use tessera_package::build::Script;

/// A plug-in or example module: a folder with a `plugin.toml` that is a package of the workspace or has sources in
/// another language.
#[derive(Debug)]
pub(crate) struct Plugin {
    /// The name of its folder; `NAME.wasm` is its file.
    pub(crate) name: String,
    /// What it is made of.
    pub(crate) source: Source,
    /// The folder with `plugin.toml` and `migrations/`.
    pub(crate) dir: PathBuf,
}

/// What a plug-in is made of.
#[derive(Debug)]
pub(crate) enum Source {
    /// A package of the workspace.
    Cargo {
        /// Its name.
        package: String,
        /// Its crate, which names the file that cargo makes.
        krate: String,
    },
    /// Another language.
    Script(Script),
}

/// Which languages to build. JavaScript and Python need tools of some 500 MB, which a plain server does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Languages {
    /// Those of the workspace.
    Rust,
    /// JavaScript and Python as well.
    All,
}

impl Languages {
    /// Whether a plug-in of this source is among them.
    pub(crate) const fn has(self, source: &Source) -> bool {
        matches!((self, source), (Self::All, _) | (_, Source::Cargo { .. }))
    }
}

/// Finds all plug-ins below `plugins/` and `examples/`, ordered by name.
pub(crate) fn find(workspace: &Workspace) -> Result<Vec<Plugin>> {
    below(workspace, &["plugins", "examples"])
}

/// Finds the plug-ins below `tests/fixtures/` and `tests/compat/`, which serve tests and benchmarks only.
pub(crate) fn fixtures(workspace: &Workspace) -> Result<Vec<Plugin>> {
    below(workspace, &["tests/fixtures", "tests/compat"])
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
            source: Source::Cargo {
                package: package.name.clone(),
                krate: target.name.replace('-', "_"),
            },
            dir: dir.to_owned(),
        });
    }
    for folder in folders {
        found.extend(scripts(&workspace.root.join(folder))?);
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The modules right below `folder` that are written in JavaScript or Python.
fn scripts(folder: &std::path::Path) -> Result<Vec<Plugin>> {
    let cannot = || format!("cannot read {}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let dir = entry.with_context(cannot)?.path();
        if dir.join("Cargo.toml").is_file() || !dir.join("plugin.toml").is_file() {
            continue;
        }
        let Some(script) = Script::of(&dir) else {
            bail!(
                "{}: a folder with plugin.toml needs a Cargo.toml, a package.json or a src/module.py",
                dir.display()
            );
        };
        found.push(Plugin {
            name: dir.file_name().map(|name| name.to_string_lossy().into()).unwrap_or_default(),
            source: Source::Script(script),
            dir,
        });
    }
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
        for name in ["keyword-policy", "http-antispam", "rest-password"] {
            assert!(plugins.iter().any(|plugin| plugin == name), "{plugins:?}");
        }
        assert!(!plugins.iter().any(|name| fixtures.contains(name)), "{plugins:?}");
    }
}
