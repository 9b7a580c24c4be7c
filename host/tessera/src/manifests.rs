//! Manifests of plug-in files, read without compiling anything.

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
