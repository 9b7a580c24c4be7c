//! The descriptor that holds: the embedded default, the operator's file over it, flags over both.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tessera_manifest::{Descriptor, ListenAddr, Listener, Plugin, PluginName};

use crate::cli::Settings;

/// The descriptor that holds where no file says otherwise.
pub(crate) const DEFAULT: &str = include_str!("../../../config/default.toml");

impl Settings {
    /// Reads the descriptor and lays the flags over it.
    pub(crate) fn descriptor(&self) -> Result<Descriptor> {
        let mut descriptor = match &self.config {
            None => Descriptor::parse("embedded default", DEFAULT)?,
            Some(path) => {
                let text = fs::read_to_string(path)
                    .with_context(|| format!("cannot read the descriptor {}", path.display()))?;
                Descriptor::parse_over(DEFAULT, &path.display().to_string(), &text)?
            }
        };
        if let Some(data) = &self.data {
            descriptor.server.data.clone_from(data);
        }
        if !self.listen.is_empty() {
            descriptor.listeners =
                self.listen.iter().map(|address| Listener { address: *address, tls: None }).collect();
        }
        if let Some(name) = &self.server_name {
            descriptor.tenant.name = name.clone();
        }
        if let Some(plugins) = &self.plugins {
            descriptor.server.plugins = Some(plugins.clone());
        }
        if let Some(cache) = &self.cache {
            descriptor.engine.cache = Some(cache.clone());
        }
        if let Some(metrics) = self.metrics {
            descriptor.metrics.address = metrics;
        }
        Ok(descriptor)
    }
}

/// Refuses what the descriptor may say but this version does not do.
pub(crate) fn refuse_what_is_not_served(descriptor: &Descriptor) -> Result<()> {
    if !descriptor.nodes.is_empty() {
        bail!(
            "`[nodes]`: several processes are not served yet; take the table out to run everything in this one"
        );
    }
    if !descriptor.tenants.is_empty() {
        bail!(
            "`[tenants]`: several server names are not served yet; name the one to serve in `[tenant]`"
        );
    }
    Ok(())
}

/// The folder of plug-in files: the descriptor's, else `../plugins` beside the executable.
pub(crate) fn plugins_folder(descriptor: &Descriptor) -> Result<PathBuf> {
    if let Some(folder) = &descriptor.server.plugins {
        return Ok(folder.clone());
    }
    let executable = env::current_exe().context("cannot find out where this executable is")?;
    let parent = executable.parent().and_then(Path::parent);
    let parent = parent.context("this executable is in no folder; name one with --plugins DIR")?;
    Ok(parent.join("plugins"))
}

/// A plug-in's file.
pub(crate) fn plugin_file(folder: &Path, name: &PluginName, plugin: &Plugin) -> PathBuf {
    match &plugin.source {
        Some(source) => folder.join(source),
        None => folder.join(format!("{name}.wasm")),
    }
}

/// The metrics address that holds where nobody chose one.
pub(crate) fn default_metrics() -> Option<ListenAddr> {
    Descriptor::parse("embedded default", DEFAULT).ok()?.metrics.address.on()
}
