//! JSON schemas of both files, for editors.

use crate::{Descriptor, PluginManifest};

/// One schema and the file it is kept in.
#[derive(Debug, Clone)]
pub struct Schema {
    /// Such as `tessera.schema.json`.
    pub file: &'static str,
    /// JSON, indented, ending in a newline.
    pub text: String,
}

/// All schemas, as they stand in `docs/schema`.
#[must_use]
pub fn schemas() -> Vec<Schema> {
    let all = [
        ("plugin.schema.json", schemars::schema_for!(PluginManifest)),
        ("tessera.schema.json", schemars::schema_for!(Descriptor)),
    ];
    all.into_iter()
        .map(|(file, schema)| Schema { file, text: format!("{:#}\n", schema.as_value()) })
        .collect()
}
