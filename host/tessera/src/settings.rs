//! The descriptor that holds: the embedded default, the operator's file over it, flags over both.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tessera_manifest::{Descriptor, ListenAddr, Listener, Plugin, PluginName};

use crate::{cli::Settings, cluster::Node};

/// The descriptor that holds where no file says otherwise.
pub(crate) const DEFAULT: &str = include_str!("../../../config/default.toml");

impl Settings {
    /// Reads the descriptor and lays the flags over it.
    pub(crate) fn descriptor(&self) -> Result<Descriptor> {
        let mut descriptor = self.read()?;
        self.lay_over(&mut descriptor);
        Ok(descriptor)
    }

    /// The same for a process that is `node`, whose own addresses count: above them only the flags.
    pub(crate) fn descriptor_of(&self, node: Option<&str>) -> Result<(Descriptor, Option<Node>)> {
        let mut descriptor = self.read()?;
        let node = Node::take(&mut descriptor, node)?;
        self.lay_over(&mut descriptor);
        Ok((descriptor, node))
    }

    fn read(&self) -> Result<Descriptor> {
        let Some(path) = &self.config else {
            return Ok(Descriptor::parse("embedded default", DEFAULT)?);
        };
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the descriptor {}", path.display()))?;
        Ok(Descriptor::parse_over(DEFAULT, &path.display().to_string(), &text)?)
    }

    fn lay_over(&self, descriptor: &mut Descriptor) {
        if let Some(data) = &self.data {
            descriptor.server.data.clone_from(data);
        }
        if !self.listen.is_empty() {
            let listener = |address: &ListenAddr| Listener { address: *address, tls: None };
            descriptor.listeners = self.listen.iter().map(listener).collect();
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
    }
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
