//! Loads the plug-ins, and says so where it takes long.

use std::{io::IsTerminal, time::Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use tessera_engine::{Engine, Plugin};

use crate::{files::PluginFile, manifests};

/// Loads all at once: reading compiled code uses one core, compiling uses what there is.
pub(crate) async fn all(engine: &Engine, files: Vec<PluginFile>) -> Result<Vec<Plugin>> {
    let bar = progress(files.len() as u64);
    bar.set_message("plug-ins (compiled at the first start)");
    let mut loading = Vec::with_capacity(files.len());
    for file in files {
        let (engine, bar) = (engine.clone(), bar.clone());
        loading.push(tokio::task::spawn_blocking(move || {
            let loaded = load(&engine, &file);
            bar.inc(1);
            loaded
        }));
    }
    let mut plugins = Vec::with_capacity(loading.len());
    for loaded in loading {
        plugins.push(loaded.await.context("loading a plug-in failed")??);
    }
    bar.finish_and_clear();
    Ok(plugins)
}

fn load(engine: &Engine, file: &PluginFile) -> Result<Plugin> {
    let start = Instant::now();
    let path = file.path.display().to_string();
    let plugin = Plugin::load(engine, &path, &file.bytes)
        .with_context(|| format!("plug-in `{}`: {path} cannot be loaded", file.name))?;
    manifests::check_name(file, &plugin.manifest)?;
    let took = start.elapsed();
    tracing::info!(plugin = %file.name, version = %plugin.version(), ?took, "loaded");
    Ok(plugin)
}

fn progress(plugins: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(plugins);
    if let Ok(style) = ProgressStyle::with_template("{spinner} loading {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}
