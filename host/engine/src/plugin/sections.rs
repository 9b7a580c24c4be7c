//! The custom sections that the build appends to a component.

use serde::Deserialize;
use tessera_storage::Migration;
use wasmparser::{Encoding, Parser, Payload};

use super::LoadError;

pub(super) struct Sections {
    pub(super) manifest: Option<String>,
    pub(super) migrations: Vec<Migration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sql: String,
}

/// Reads the sections of the outermost component; those of components within it say nothing here.
pub(super) fn read(bytes: &[u8]) -> Result<Sections, LoadError> {
    let mut sections = Sections { manifest: None, migrations: Vec::new() };
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| LoadError::NotWasm(error.to_string()))? {
            Payload::Version { encoding, .. } => {
                depth = depth.saturating_add(1);
                if depth == 1 && encoding == Encoding::Module {
                    return Err(LoadError::CoreModule);
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 1 => match section.name() {
                "tessera:manifest" => {
                    let text = std::str::from_utf8(section.data()).map_err(|error| {
                        LoadError::Manifest(format!("the manifest is not UTF-8: {error}"))
                    })?;
                    sections.manifest = Some(text.to_owned());
                }
                "tessera:migrations" => {
                    let entries: Vec<Entry> = serde_json::from_slice(section.data())
                        .map_err(|error| LoadError::Migrations(error.to_string()))?;
                    sections.migrations = entries
                        .into_iter()
                        .map(|entry| Migration { name: entry.name, sql: entry.sql })
                        .collect();
                }
                _ => {}
            },
            _ => {}
        }
    }
    Ok(sections)
}
