//! Manifests of plug-in files, read without compiling anything.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use tessera_manifest::PluginManifest;
use wasmparser::{Encoding, Parser, Payload};

use crate::files::PluginFile;

/// The section that the build appends.
const SECTION: &str = "tessera:manifest";

/// A file's manifest; it must be of the plug-in that the descriptor means.
pub(crate) fn of(file: &PluginFile) -> Result<PluginManifest> {
    let shown = file.path.display().to_string();
    let name = &file.name;
    let text = section(&file.bytes).with_context(|| format!("plug-in `{name}`: {shown}"))?;
    let manifest = PluginManifest::parse(&format!("{shown} (plugin.toml)"), text)?;
    check_name(file, &manifest)?;
    Ok(manifest)
}

/// Checks that the file holds the plug-in that the descriptor means.
pub(crate) fn check_name(file: &PluginFile, manifest: &PluginManifest) -> Result<()> {
    if manifest.name != file.name {
        bail!(
            "`[plugins.{}]` names {}, which holds the plug-in `{}`; write `[plugins.{}]`",
            file.name,
            file.path.display(),
            manifest.name,
            manifest.name
        );
    }
    Ok(())
}

/// Checks that every view which a plug-in reads is exposed by one that is loaded. Gives what the operator
/// should know besides: topics that are consumed and emitted by nobody.
pub(crate) fn check_together(manifests: &[&PluginManifest]) -> Result<Vec<String>> {
    let mut exposed = BTreeMap::new();
    let mut emitted = BTreeSet::new();
    for manifest in manifests {
        exposed.extend(manifest.storage.exposes.iter().map(|view| (view, &manifest.name)));
        emitted.extend(&manifest.topics.emits);
    }
    let mut warnings = Vec::new();
    for manifest in manifests {
        let name = &manifest.name;
        if let Some(view) = manifest.storage.reads.iter().find(|view| !exposed.contains_key(view)) {
            let offers: Vec<&str> = exposed.keys().map(|view| view.as_str()).collect();
            bail!(
                "plug-in `{name}` reads the view `{view}`, which no loaded plug-in exposes\n  exposed are: {}",
                offers.join(", ")
            );
        }
        for consume in &manifest.topics.consumes {
            if !emitted.contains(&consume.topic) {
                warnings.push(format!(
                    "plug-in `{name}` consumes the topic `{}`, which no loaded plug-in emits",
                    consume.topic
                ));
            }
        }
    }
    Ok(warnings)
}

fn section(bytes: &[u8]) -> Result<&str> {
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.context("not a WebAssembly component")? {
            Payload::Version { encoding, .. } => {
                depth = depth.saturating_add(1);
                if depth == 1 && encoding == Encoding::Module {
                    bail!("a core WebAssembly module, not a component");
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 1 && section.name() == SECTION => {
                return std::str::from_utf8(section.data()).context("its manifest is not UTF-8");
            }
            _ => {}
        }
    }
    bail!(
        "no manifest: the component lacks the section `{SECTION}`, which the build appends from plugin.toml"
    )
}
