//! Manifests of plug-in files, read without compiling anything.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use tessera_engine::Grants;
use tessera_manifest::{Descriptor, PluginManifest};
use wasmparser::{Encoding, Parser, Payload};

use crate::files::PluginFile;

/// The section that the build appends.
const SECTION: &str = "tessera:manifest";

/// What a file says about itself.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    /// Its `plugin.toml`.
    pub(crate) manifest: PluginManifest,
    /// All that it asks for.
    pub(crate) asked: Grants,
}

impl Described {
    /// Reads the bytes of a file, which messages call `shown`.
    pub(crate) fn read(shown: &str, bytes: &[u8]) -> Result<Self> {
        let (text, exports) = sections(bytes)?;
        let manifest = PluginManifest::parse(&format!("{shown} (plugin.toml)"), text)?;
        let asked = Grants::asked(&manifest, exports);
        Ok(Self { manifest, asked })
    }

    /// What it is allowed.
    pub(crate) fn allowed(&self, descriptor: &Descriptor) -> Grants {
        let entry = descriptor.plugins.get(&self.manifest.name);
        entry.map_or_else(Grants::default, |entry| self.asked.allowed(&entry.grants))
    }
}

/// What a file says about itself; it must be the plug-in that the descriptor means.
pub(crate) fn of(file: &PluginFile) -> Result<Described> {
    let shown = file.path.display().to_string();
    let name = &file.name;
    let described = Described::read(&shown, &file.bytes)
        .with_context(|| format!("plug-in `{name}`: {shown}"))?;
    check_name(file, &described.manifest)?;
    Ok(described)
}

/// One line about what a plug-in asks for and is not allowed, with the command that allows it.
pub(crate) fn not_allowed(name: &str, asked: &Grants, allowed: &Grants) -> Option<String> {
    let missing = asked.without(allowed);
    if missing.is_nothing() {
        return None;
    }
    Some(format!(
        "plug-in `{name}` is not allowed all that it asks for; missing: {}. To allow it: tessera plugin grant {name} {}",
        missing.words().join("; "),
        missing.arguments().join(" ")
    ))
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

/// The text of the manifest, and the names of what the component exports.
fn sections(bytes: &[u8]) -> Result<(&str, Vec<&str>)> {
    let mut depth = 0_u32;
    let (mut manifest, mut exports) = (None, Vec::new());
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.context("not a WebAssembly component")? {
            Payload::Version { encoding, .. } => {
                depth = depth.saturating_add(1);
                if depth == 1 && encoding == Encoding::Module {
                    bail!("a core WebAssembly module, not a component");
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports.push(export.context("not a WebAssembly component")?.name.name);
                }
            }
            Payload::CustomSection(section) if depth == 1 && section.name() == SECTION => {
                let text = std::str::from_utf8(section.data());
                manifest = Some(text.context("its manifest is not UTF-8")?);
            }
            _ => {}
        }
    }
    let manifest = manifest.with_context(|| {
        format!(
            "no manifest: the component lacks the section `{SECTION}`, which the build appends from plugin.toml"
        )
    })?;
    Ok((manifest, exports))
}
