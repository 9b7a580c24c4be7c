//! Builds the plug-ins: one cargo invocation, then one file for each.

use crate::{
    cmd::Run,
    plugins::{self, Plugin},
    toolchain, ui,
    workspace::Workspace,
};
use anyhow::{Context, Result, bail};
use std::{collections::BTreeSet, fs, path::PathBuf, time::Instant};
use tessera_package::build::{assemble, write_if_changed};

/// Builds plug-ins into `target/plugins`: all of them, or those in `only` if it names any.
pub(crate) fn build(workspace: &Workspace, only: &[String]) -> Result<()> {
    let all = plugins::find(workspace)?;
    if all.is_empty() {
        bail!("no plug-in: no package below plugins/ or examples/ has a plugin.toml");
    }
    if let Some(unknown) = only.iter().find(|name| !all.iter().any(|plugin| plugin.name == **name))
    {
        let known: Vec<&str> = all.iter().map(|plugin| plugin.name.as_str()).collect();
        bail!("no plug-in `{unknown}`; there are: {}", known.join(", "));
    }
    let out = Output { folder: workspace.plugins(), list: "plugins.txt" };
    let wanted = |plugin: &&Plugin| only.is_empty() || only.contains(&plugin.name);
    make(workspace, "plug-ins", &all.iter().filter(wanted).collect::<Vec<_>>(), &out)?;
    out.forget_removed(workspace, &all)
}

/// Builds the guests of tests and benchmarks into `target/fixtures`.
pub(crate) fn build_fixtures(workspace: &Workspace) -> Result<()> {
    let all = plugins::fixtures(workspace)?;
    let out = Output { folder: workspace.fixtures(), list: "fixtures.txt" };
    if !all.is_empty() {
        make(workspace, "fixtures", &all.iter().collect::<Vec<_>>(), &out)?;
    }
    out.forget_removed(workspace, &all)
}

/// Where files go.
struct Output {
    folder: PathBuf,
    /// Names of the files that the last build made, so that those of removed plug-ins go.
    list: &'static str,
}

fn make(workspace: &Workspace, what: &str, plugins: &[&Plugin], out: &Output) -> Result<()> {
    let since = Instant::now();
    let names: Vec<&str> = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    let compiler = toolchain::find_or_install()?;
    let target = target(workspace);
    compiler
        .cargo_build()
        .args(["--profile", "guest", "--target-dir"])
        .args([target.to_string_lossy()])
        .args(plugins.iter().flat_map(|plugin| ["-p", &plugin.package]))
        .dir(&workspace.root)
        .show(&format!("build the {what} {} ({compiler})", names.join(", ")))?;

    let built = target.join(toolchain::TARGET).join("guest");
    let folder = &out.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut written = Vec::new();
    for plugin in plugins {
        let component = built.join(format!("{}.wasm", plugin.krate));
        let component =
            fs::read(&component).with_context(|| format!("cannot read {}", component.display()))?;
        let bytes = assemble(&plugin.dir, component)?;
        let path = folder.join(file(&plugin.name));
        let changed = write_if_changed(&path, &bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
        if changed {
            written.push(format!("{} ({} KiB)", plugin.name, bytes.len() / 1024));
        }
    }
    let news = if written.is_empty() { "up to date".to_owned() } else { written.join(", ") };
    ui::note(&format!("{}: {news}; {:.1} s", folder.display(), since.elapsed().as_secs_f32()));
    Ok(())
}

/// Where cargo builds guests: another compiler than the host's must not share its folder.
fn target(workspace: &Workspace) -> PathBuf {
    workspace.target.join("guest")
}

fn file(plugin: &str) -> String {
    format!("{plugin}.wasm")
}

impl Output {
    /// Removes the files of plug-ins that are gone; files that xtask never wrote stay.
    fn forget_removed(&self, workspace: &Workspace, all: &[Plugin]) -> Result<()> {
        let names: BTreeSet<&str> = all.iter().map(|plugin| plugin.name.as_str()).collect();
        let list = target(workspace).join(self.list);
        let before = fs::read_to_string(&list).unwrap_or_default();
        for gone in before.lines().filter(|name| !names.contains(name)) {
            fs::remove_file(self.folder.join(file(gone))).ok(); // gone already is as good
            ui::note(&format!("removed {}, whose plug-in is gone", file(gone)));
        }
        if names.is_empty() && before.is_empty() {
            return Ok(());
        }
        let now: String = names.iter().map(|name| format!("{name}\n")).collect();
        write_if_changed(&list, now.as_bytes())?;
        Ok(())
    }
}
