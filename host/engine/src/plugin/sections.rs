//! The custom sections that the build appends to a component.

use serde::Deserialize;
use tessera_storage::Migration;
use wasmparser::{Encoding, Parser, Payload};

use super::LoadError;

pub(super) struct Sections {
    pub(super) manifest: Option<String>,
    pub(super) migrations: Vec<Migration>,
    pub(super) footprint: Footprint,
}

/// What a component takes before it does anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Core modules in it, at any depth.
    pub(crate) modules: u32,
    /// Bytes of all its memories at the start.
    pub(crate) memory: u64,
    /// Elements of its largest table at the start.
    pub(crate) table: u64,
}

/// Caps on the sections; the files that they are made of are much smaller.
const MANIFEST_MAX: usize = 256 << 10;
const MIGRATIONS_MAX: usize = 4 << 20;
/// What a component may be made of: a Python one with many libraries has some fifty modules.
const MODULES_MAX: u32 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sql: String,
}

/// Reads the sections of the outermost component; those of components within it say nothing here.
pub(super) fn read(bytes: &[u8]) -> Result<Sections, LoadError> {
    let mut sections =
        Sections { manifest: None, migrations: Vec::new(), footprint: Footprint::default() };
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| LoadError::NotWasm(error.to_string()))? {
            Payload::Version { encoding, .. } => {
                depth = depth.saturating_add(1);
                if encoding == Encoding::Module {
                    if depth == 1 {
                        return Err(LoadError::CoreModule);
                    }
                    let modules = &mut sections.footprint.modules;
                    *modules = modules.saturating_add(1);
                    if *modules > MODULES_MAX {
                        return Err(LoadError::NotWasm(format!(
                            "more than {MODULES_MAX} core modules in one component"
                        )));
                    }
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory.map_err(|error| LoadError::NotWasm(error.to_string()))?;
                    let page = 1_u64.checked_shl(memory.page_size_log2.unwrap_or(16));
                    let bytes = memory.initial.saturating_mul(page.unwrap_or(u64::MAX));
                    let sum = &mut sections.footprint.memory;
                    *sum = sum.saturating_add(bytes);
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    let table = table.map_err(|error| LoadError::NotWasm(error.to_string()))?;
                    let largest = &mut sections.footprint.table;
                    *largest = (*largest).max(table.ty.initial);
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 1 => match section.name() {
                "tessera:manifest" => {
                    if section.data().len() > MANIFEST_MAX {
                        let text = format!("the manifest has more than {MANIFEST_MAX} bytes");
                        return Err(LoadError::Manifest(text));
                    }
                    let text = std::str::from_utf8(section.data()).map_err(|error| {
                        LoadError::Manifest(format!("the manifest is not UTF-8: {error}"))
                    })?;
                    sections.manifest = Some(text.to_owned());
                }
                "tessera:migrations" => {
                    if section.data().len() > MIGRATIONS_MAX {
                        let text = format!("more than {MIGRATIONS_MAX} bytes");
                        return Err(LoadError::Migrations(text));
                    }
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
