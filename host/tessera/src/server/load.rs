//! Loads the plug-ins, and says so where it takes long.

use std::{collections::BTreeMap, io::IsTerminal, time::Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use tessera_engine::{Engine, Plugin};
use tessera_manifest::Descriptor;

use crate::{
    files::{self, PluginFile},
    manifests,
    tenants::Versions,
};

/// Loads all that a descriptor names, but for what is loaded already.
pub(crate) async fn versions(
    engine: &Engine,
    descriptor: &Descriptor,
    known: &Versions,
) -> Result<Versions> {
    let read = {
        let descriptor = descriptor.clone();
        tokio::task::spawn_blocking(move || {
            anyhow::Ok((files::read_all(&descriptor)?, files::read_tried(&descriptor)?))
        })
    };
    let (mains, tried) = read.await.context("reading the plug-ins failed")??;
    let mut versions = Versions::default();
    versions.mains = some(engine, mains, known, &mut versions.digests).await?;
    let trials = some(engine, tried, known, &mut versions.digests).await?;
    versions.trials = trials.into_iter().map(|plugin| (plugin.name().to_owned(), plugin)).collect();
    Ok(versions)
}

async fn some(
    engine: &Engine,
    files: Vec<PluginFile>,
    known: &Versions,
    digests: &mut BTreeMap<String, Plugin>,
) -> Result<Vec<Plugin>> {
    let digest =
        |file: &PluginFile| hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&file.bytes));
    let mut found = Vec::with_capacity(files.len());
    let mut missing = Vec::new();
    for file in files {
        let digest = digest(&file);
        let there = known.digests.get(&digest).or_else(|| digests.get(&digest)).cloned();
        match &there {
            Some(plugin) => manifests::check_name(&file, &plugin.manifest)?,
            None => missing.push(file),
        }
        found.push((digest, there));
    }
    let mut loaded = all(engine, missing).await?.into_iter();
    let mut plugins = Vec::with_capacity(found.len());
    for (digest, there) in found {
        let plugin = there.or_else(|| loaded.next()).context("a plug-in was not loaded")?;
        digests.insert(digest, plugin.clone());
        plugins.push(plugin);
    }
    Ok(plugins)
}

/// Loads all at once: reading compiled code uses one core, compiling uses what there is.
async fn all(engine: &Engine, files: Vec<PluginFile>) -> Result<Vec<Plugin>> {
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
