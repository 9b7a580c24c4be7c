//! The descriptor that holds: the embedded default, the operator's file over it, flags over both.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tessera_manifest::{Descriptor, ListenAddr, Listener, Plugin, PluginName};

use crate::{cli::Settings, cluster::Node, modules::Overlay};

/// The descriptor that holds where no file says otherwise.
pub(crate) const DEFAULT: &str = include_str!("../../../config/default.toml");

impl Settings {
    /// Reads the descriptor, with what commands have changed, and lays the flags over it.
    pub(crate) fn descriptor(&self) -> Result<Descriptor> {
        let overlay = self.overlay()?;
        self.descriptor_with(&overlay)
    }

    /// The same with changes that are not kept yet.
    pub(crate) fn descriptor_with(&self, overlay: &Overlay) -> Result<Descriptor> {
        let mut descriptor = self.read(Some(overlay))?;
        self.lay_over(&mut descriptor);
        Ok(descriptor)
    }

    /// As the operator wrote it, without what commands have changed.
    pub(crate) fn descriptor_alone(&self) -> Result<Descriptor> {
        let mut descriptor = self.read(None)?;
        self.lay_over(&mut descriptor);
        Ok(descriptor)
    }

    /// The descriptor for a process that is `node`, whose own addresses count: above them only the flags.
    pub(crate) fn descriptor_of(&self, node: Option<&str>) -> Result<(Descriptor, Option<Node>)> {
        let overlay = self.overlay()?;
        self.descriptor_of_with(node, &overlay)
    }

    /// The same with changes that are not kept yet.
    pub(crate) fn descriptor_of_with(
        &self,
        node: Option<&str>,
        overlay: &Overlay,
    ) -> Result<(Descriptor, Option<Node>)> {
        let mut descriptor = self.read(Some(overlay))?;
        let node = Node::take(&mut descriptor, node)?;
        self.lay_over(&mut descriptor);
        Ok((descriptor, node))
    }

    /// What commands have changed.
    pub(crate) fn overlay(&self) -> Result<Overlay> {
        match &self.data {
            Some(data) => Overlay::read(data),
            None => Overlay::read(&self.read(None)?.server.data),
        }
    }

    fn read(&self, overlay: Option<&Overlay>) -> Result<Descriptor> {
        let (file, text) = match &self.config {
            None => ("embedded default".to_owned(), String::new()),
            Some(path) => {
                let text = fs::read_to_string(path)
                    .with_context(|| format!("cannot read the descriptor {}", path.display()))?;
                (path.display().to_string(), text)
            }
        };
        let Some(overlay) = overlay else {
            return Ok(Descriptor::parse_over(DEFAULT, &file, &text)?);
        };
        let name = overlay.file().display().to_string();
        Ok(Descriptor::parse_layers(DEFAULT, &file, &text, &name, &overlay.resolved())?)
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
