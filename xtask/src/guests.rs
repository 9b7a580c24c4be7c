//! Builds the plug-ins: one cargo invocation for those in Rust, then one file for each.

use crate::{
    apt, clients,
    cmd::Run,
    plugins::{self, Languages, Plugin, Source},
    toolchain, ui,
    workspace::Workspace,
};
use anyhow::{Context, Result, bail};
use std::{collections::BTreeSet, fs, path::PathBuf, time::Instant};
use tessera_package::build::{Contract, Script, Tools, assemble, write_if_changed};

/// Builds plug-ins into `target/plugins`: all of them in these languages, or those in `only` if it names any.
pub(crate) fn build(workspace: &Workspace, only: &[String], languages: Languages) -> Result<()> {
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
    let wanted = |plugin: &&Plugin| match only {
        [] => languages.has(&plugin.source),
        _ => only.contains(&plugin.name),
    };
    make(workspace, "plug-ins", &all.iter().filter(wanted).collect::<Vec<_>>(), &out)?;
    out.forget_removed(workspace, &all)
}

/// Builds the guests of tests and benchmarks in these languages into `target/fixtures`.
pub(crate) fn build_fixtures(workspace: &Workspace, languages: Languages) -> Result<()> {
    let all = plugins::fixtures(workspace)?;
    let out = Output { folder: workspace.fixtures(), list: "fixtures.txt" };
    let wanted: Vec<&Plugin> = all.iter().filter(|plugin| languages.has(&plugin.source)).collect();
    if !wanted.is_empty() {
        make(workspace, "fixtures", &wanted, &out)?;
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
    build_rust(workspace, what, plugins)?;
    let folder = &out.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut written = Vec::new();
    for plugin in plugins {
        let bytes = assemble(&plugin.dir, component(workspace, plugin)?)?;
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

/// Compiles the plug-ins in Rust, all at once.
fn build_rust(workspace: &Workspace, what: &str, plugins: &[&Plugin]) -> Result<()> {
    let packages: Vec<&str> = plugins
        .iter()
        .filter_map(|plugin| match &plugin.source {
            Source::Cargo { package, .. } => Some(package.as_str()),
            Source::Script(_) => None,
        })
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    let compiler = toolchain::find_or_install()?;
    compiler
        .cargo_build()
        .args(["--profile", "guest", "--target-dir"])
        .args([target(workspace).to_string_lossy()])
        .args(packages.iter().flat_map(|package| ["-p", package]))
        .dir(&workspace.root)
        .show(&format!("build the {what} {} ({compiler})", packages.join(", ")))
}

/// The bare component of a plug-in: what cargo has made of it, or what is made of its scripts now.
fn component(workspace: &Workspace, plugin: &Plugin) -> Result<Vec<u8>> {
    match &plugin.source {
        Source::Cargo { krate, .. } => {
            let folder = target(workspace).join(toolchain::TARGET).join("guest");
            let path = folder.join(format!("{krate}.wasm"));
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        }
        Source::Script(script) => {
            let tools = tools(workspace, *script)?;
            let spinner = ui::spinner(&format!("build {} with its tools", plugin.name));
            let built = script.build(
                &plugin.dir,
                Contract::Folder(&workspace.root.join("wit")),
                &tools,
                &target(workspace).join("scripts").join(&plugin.name),
            );
            spinner.finish();
            built.with_context(|| format!("cannot build {}", plugin.name))
        }
    }
}

/// The tools for a language, installed if need be.
pub(crate) fn tools(workspace: &Workspace, script: Script) -> Result<Tools> {
    let tools = Tools::new(workspace.target.join("tools"));
    match script {
        Script::JavaScript if !tools.has_javascript() => {
            if !clients::has_npm() {
                apt::install("npm", &["nodejs", "npm"])?;
            }
            let spinner = ui::spinner("install componentize-js and Node 22 with npm");
            let done = tools.install_javascript();
            spinner.finish();
            done?;
        }
        Script::Python if !tools.has_python() => {
            if !clients::has_venv() {
                apt::install("Python", &["python3", "python3-venv"])?;
            }
            let spinner = ui::spinner("install componentize-py with pip");
            let done = tools.install_python();
            spinner.finish();
            done?;
        }
        _ => {}
    }
    Ok(tools)
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
