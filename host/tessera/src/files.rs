//! Files of plug-ins.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use tessera_manifest::{Descriptor, Plugin, PluginName};

use crate::settings::{plugin_file, plugins_folder};

/// A plug-in's file that has been read.
pub(crate) struct PluginFile {
    pub(crate) name: PluginName,
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// Reads the files of all plug-ins that the descriptor has switched on.
pub(crate) fn read_all(descriptor: &Descriptor) -> Result<Vec<PluginFile>> {
    let folder = plugins_folder(descriptor)?;
    let files = descriptor
        .enabled_plugins()
        .map(|(name, plugin)| read(&folder, name, plugin, descriptor))
        .collect::<Result<Vec<_>>>()?;
    if files.is_empty() {
        bail!("every plug-in is switched off; without one nothing answers");
    }
    Ok(files)
}

/// Reads the files of versions that are tried beside plug-ins that the descriptor has switched on.
pub(crate) fn read_tried(descriptor: &Descriptor) -> Result<Vec<PluginFile>> {
    let folder = plugins_folder(descriptor)?;
    let mut files = Vec::new();
    for (name, plugin) in descriptor.enabled_plugins() {
        let (source, sha256) = match (&plugin.canary, &plugin.shadow) {
            (Some(canary), _) => (&canary.source, &canary.sha256),
            (None, Some(shadow)) => (&shadow.source, &shadow.sha256),
            (None, None) => continue,
        };
        let (source, sha256) = (Some(source.clone()), sha256.clone());
        let version = Plugin { source, sha256, ..plugin.clone() };
        files.push(read(&folder, name, &version, descriptor)?);
    }
    Ok(files)
}

/// Reads the file of one plug-in of the descriptor.
pub(crate) fn read_one(descriptor: &Descriptor, name: &PluginName) -> Result<PluginFile> {
    let Some(plugin) = descriptor.plugins.get(name) else {
        let known: Vec<&str> = descriptor.plugins.keys().map(PluginName::as_str).collect();
        bail!("there is no plug-in `{name}`; there are: {}", known.join(", "));
    };
    read(&plugins_folder(descriptor)?, name, plugin, descriptor)
}

fn read(
    folder: &Path,
    name: &PluginName,
    plugin: &Plugin,
    descriptor: &Descriptor,
) -> Result<PluginFile> {
    let path = plugin_file(folder, name, plugin);
    let shown = path.display();
    let cap = descriptor.engine.component_max;
    let size = match fs::metadata(&path) {
        Ok(data) => data.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(missing(folder, name, &path));
        }
        Err(error) => {
            return Err(error).with_context(|| format!("plug-in `{name}`: cannot read {shown}"));
        }
    };
    if size > cap.get() {
        bail!(
            "plug-in `{name}`: {shown} has {size} bytes, over the cap of {cap} ([engine] component-max)"
        );
    }
    let bytes =
        fs::read(&path).with_context(|| format!("plug-in `{name}`: cannot read {shown}"))?;
    if let Some(expected) = &plugin.sha256 {
        let found = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes));
        if found != expected.as_str() {
            bail!(
                "plug-in `{name}`: {shown} is not the file that `[plugins.{name}] sha256` names\n  expected {expected}\n  found    {found}"
            );
        }
    }
    Ok(PluginFile { name: name.clone(), path, bytes })
}

fn missing(folder: &Path, name: &PluginName, path: &Path) -> anyhow::Error {
    let mut found: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".wasm"))
        .collect();
    found.sort();
    let there = match found.as_slice() {
        [] => format!(
            "{} holds no plug-in; `cargo xtask build` makes those of this repository, --plugins DIR names another folder",
            folder.display()
        ),
        found => format!("{} holds {}", folder.display(), found.join(", ")),
    };
    anyhow!(
        "plug-in `{name}`: there is no file {}\n  {there}\n  `[plugins.{name}]` of the descriptor names its `source`, or switches it off with `enabled = false`",
        path.display()
    )
}
