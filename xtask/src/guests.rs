//! Builds the plug-ins: one cargo invocation, then one file for each.

use crate::{
    package,
    plugins::{self, Plugin},
    toolchain::Toolchain,
    ui,
    workspace::Workspace,
};
use anyhow::{Context, Result, bail};
use std::{collections::BTreeSet, fs, path::Path, time::Instant};

/// Names of the files that the last build made, so that those of removed plug-ins go.
const LIST: &str = "plugins.txt";

/// Builds plug-ins into `target/plugins`: all of them, or those in `only` if it names any.
pub(crate) fn build(workspace: &Workspace, only: &[String]) -> Result<()> {
    let since = Instant::now();
    let all = plugins::find(workspace)?;
    if all.is_empty() {
        bail!("no plug-in: no package below plugins/ or examples/ has a plugin.toml");
    }
    let all_names: BTreeSet<String> = all.iter().map(|plugin| plugin.name.clone()).collect();
    if let Some(unknown) = only.iter().find(|name| !all_names.contains(*name)) {
        let known: Vec<&str> = all_names.iter().map(String::as_str).collect();
        bail!("no plug-in `{unknown}`; there are: {}", known.join(", "));
    }
    let wanted = |plugin: &Plugin| only.is_empty() || only.contains(&plugin.name);
    let plugins: Vec<Plugin> = all.into_iter().filter(wanted).collect();
    let names: Vec<&str> = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    let toolchain = Toolchain::find_or_install()?;
    let target = workspace.target.join("guest");
    toolchain
        .cargo_build()
        .args(["--profile", "guest", "--target-dir"])
        .args([target.to_string_lossy()])
        .args(plugins.iter().flat_map(|plugin| ["-p", &plugin.package]))
        .dir(&workspace.root)
        .show(&format!("build the plug-ins {} ({toolchain})", names.join(", ")))?;

    let built = target.join(crate::toolchain::TARGET).join("guest");
    let out = workspace.plugins();
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut written = Vec::new();
    for plugin in &plugins {
        let component = built.join(format!("{}.wasm", plugin.krate));
        let bytes = package::assemble(plugin, &component)?;
        if package::write_if_changed(&out.join(file(&plugin.name)), &bytes)? {
            written.push(format!("{} ({} KiB)", plugin.name, bytes.len() / 1024));
        }
    }
    forget_removed(&target.join(LIST), &out, &all_names)?;
    let news = if written.is_empty() { "up to date".to_owned() } else { written.join(", ") };
    ui::note(&format!("{}: {news}; {:.1} s", out.display(), since.elapsed().as_secs_f32()));
    Ok(())
}

fn file(plugin: &str) -> String {
    format!("{plugin}.wasm")
}

/// Removes the files of plug-ins that are gone; files that xtask never wrote stay.
fn forget_removed(list: &Path, out: &Path, names: &BTreeSet<String>) -> Result<()> {
    let before = fs::read_to_string(list).unwrap_or_default();
    for gone in before.lines().filter(|name| !names.contains(*name)) {
        fs::remove_file(out.join(file(gone))).ok(); // gone already is as good
        ui::note(&format!("removed {}, whose plug-in is gone", file(gone)));
    }
    let now: String = names.iter().map(|name| format!("{name}\n")).collect();
    package::write_if_changed(list, now.as_bytes())?;
    Ok(())
}
